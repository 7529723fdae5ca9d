"""`envoy.filters.http.fault`: delays requests and answers them with errors, as the route (or the whole listener) says.

The delay comes first, then the abort; each is drawn for itself. Whom a policy concerns is up to its header matchers. A delay
holds no task: the connection's coroutine pauses until its deadline. What the route's timeouts count begins after it.
Invariant: `active_faults` is the number of requests being delayed.
Reference: Envoy source/extensions/filters/http/fault/fault_filter.cc; reference §5.9.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from proxy.config.per_filter import FAULT, HTTPFault
from proxy.deadlines import Deadlines
from proxy.http.filter_chain import HttpFilter
from proxy.http.local_reply import LocalReply
from proxy.http.stream import Stream
from proxy.net.flow import PAUSE
from proxy.observability import response_flags as flags
from proxy.observability.stats import StatsStore
from proxy.router.conditions import Condition, header_conditions, request_of

_BODY = b"fault filter abort"
_DETAILS = "fault_filter_abort"
_CALLER = b"x-envoy-downstream-service-cluster"
_MOST_CALLERS = 256  # callers name themselves, and statistics are never forgotten


@dataclass(frozen=True, slots=True)
class FaultPolicy:
    """`delay` in s; shares are 0 to 1; `max_active` None: no limit. `per_caller`: also count by calling cluster."""

    delay: float = 0.0
    delay_share: float = 0.0
    abort: LocalReply | None = None
    abort_share: float = 0.0
    headers: tuple[Condition, ...] = ()
    max_active: int | None = None
    per_caller: bool = True


def fault_policy(config: HTTPFault) -> FaultPolicy:
    """Raises ValueError(".headers…: why") for a bad pattern."""
    delay, abort = config.delay, config.abort
    reply = None
    if abort is not None:
        status = 200 if abort.http_status is None else abort.http_status
        reply = LocalReply(status, _BODY, flags.FI, _DETAILS, grpc_status=abort.grpc_status)
    return FaultPolicy(
        delay=0.0 if delay is None else float(delay.fixed_delay),
        delay_share=0.0 if delay is None else delay.percentage.fraction,
        abort=reply,
        abort_share=0.0 if abort is None else abort.percentage.fraction,
        headers=header_conditions(config.headers),
        max_active=config.max_active_faults,
        per_caller=not config.disable_downstream_cluster_stats,
    )


class FaultStats:
    """`http.PREFIX.fault.*`, and the same for each calling cluster that names itself, as far as these are not too many."""

    def __init__(self, store: StatsStore, stat_prefix: str) -> None:
        self._store = store
        self._prefix = prefix = f"http.{stat_prefix}.fault."
        self._callers: set[bytes] = set()
        self.active = store.gauge(prefix + "active_faults")
        self.aborts = store.counter(prefix + "aborts_injected")
        self.delays = store.counter(prefix + "delays_injected")
        self.overflow = store.counter(prefix + "faults_overflow")
        self.rate_limits = store.counter(prefix + "response_rl_injected")

    def count_for(self, caller: bytes, what: str) -> None:
        """One fault for a caller; callers are not known before they call."""
        if caller not in self._callers:
            if len(self._callers) >= _MOST_CALLERS:
                return
            self._callers.add(caller)
        self._store.counter(f"{self._prefix}{caller.decode('latin-1')}.{what}").value += 1


class Fault(HttpFilter):
    """`policy` is the listener's own, for requests whose route has none."""

    name: ClassVar[str] = FAULT

    def __init__(
        self, policy: FaultPolicy, stats: FaultStats, deadlines: Deadlines, draw: Callable[[], float]
    ) -> None:
        self._policy: FaultPolicy | None = policy
        self._stats = stats
        self._deadlines = deadlines
        self._draw = draw
        self.only_by_route = not policy.delay and policy.abort is None

    def silence(self) -> bool:
        self._policy, self.only_by_route = None, True
        return True

    def on_request_headers(self, stream: Stream) -> LocalReply | Awaitable[LocalReply | None] | None:
        policy: FaultPolicy | None = stream.filter_config.get(FAULT, self._policy)
        if policy is None:
            return None
        if policy.headers:
            request = request_of(stream)
            if not all(condition.matches(request) for condition in policy.headers):
                return None
        if policy.delay and self._draw() < policy.delay_share and self._has_room(policy):
            return self._delay(stream, policy)
        return self._abort(stream, policy)

    def _has_room(self, policy: FaultPolicy) -> bool:
        if policy.max_active is None or self._stats.active.value < policy.max_active:
            return True
        self._stats.overflow.value += 1
        return False

    async def _delay(self, stream: Stream, policy: FaultPolicy) -> LocalReply | None:
        """Hold the request back; its body goes on arriving, as far as it may be kept."""
        stats, now = self._stats, self._deadlines.now
        stream.info.response_flags |= flags.DI
        stats.delays.value += 1
        self._count_for_caller(stream, policy, "delays_injected")
        until = now() + policy.delay
        deadline = self._deadlines.arm(until, stream.flow.wake)
        stats.active.value += 1
        stream.reads_ahead = True
        stream.read_ahead()
        try:
            while now() < until:
                await PAUSE
        finally:
            stream.reads_ahead = False
            stats.active.value -= 1
            self._deadlines.disarm(deadline)
        return self._abort(stream, policy)

    def _abort(self, stream: Stream, policy: FaultPolicy) -> LocalReply | None:
        if policy.abort is None or self._draw() >= policy.abort_share or not self._has_room(policy):
            return None
        self._stats.aborts.value += 1
        self._count_for_caller(stream, policy, "aborts_injected")
        return policy.abort

    def _count_for_caller(self, stream: Stream, policy: FaultPolicy, what: str) -> None:
        if policy.per_caller and _CALLER in stream.fields:
            self._stats.count_for(stream.fields[_CALLER], what)
