"""The life of a routed request, top to bottom: answer here, or try hosts until one answers.

`route_request` is the whole story: direct answers; pick a cluster; attempt, and attempt again as the retry policy says;
pass the response on; tell the client what failed. Knows no codec, no socket and no filter; time and randomness come in
through `RouterEnvironment`. What holds for a request is settled in `request_policy`, what comes of a failure in `recovery`;
clocks run in `request_timers`, the body arrives through `request_feed`, the response goes by `response_passing`, copies live in `mirror`.
Reference: Envoy source/common/router/router.cc; reference §5, §9.2.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from proxy.observability import response_flags as flags
from proxy.router import failure_reply, mirror
from proxy.router.answered_here import answer_directly, answer_without_cluster
from proxy.router.environment import RouterEnvironment
from proxy.router.hedging import SlowAnswer, SlowAttempts
from proxy.router.host_selection import HostSelection
from proxy.router.outcome import outcome
from proxy.router.recovery import Recovery
from proxy.router.request_feed import BufferExceeded, RequestFeed
from proxy.router.request_mutation import headers_of_attempt
from proxy.router.request_policy import prepare
from proxy.router.request_timers import PerTryTimeout, RequestTimers, RouteTimeout, StreamDurationReached
from proxy.router.response_passing import ResponsePassing
from proxy.router.route import ClusterTarget, DirectResponse, ForwardAction, Route
from proxy.router.stream import DownstreamStream
from proxy.router.timeouts import NO_TIMEOUTS
from proxy.router.upstream_attempt import UpstreamAttempt
from proxy.upstream.cluster import Cluster
from proxy.upstream.cluster_map import find
from proxy.upstream.failure import UpstreamReset


def route_request(
    world: RouterEnvironment, stream: DownstreamStream, route: Route | None
) -> Coroutine[Any, Any, None] | None:
    """Answer the stream: at once (None), or by the coroutine returned, which must be awaited.

    Exceptions thrown into the coroutine (a lost client) pass through, resources released.
    """
    if route is None:
        stream.send_local_reply(404, b"", flags.NR, "route_not_found")
        return None
    info, action = stream.info, route.action
    info.route_name = route.name or None
    if isinstance(action, DirectResponse):
        answer_directly(stream, action)
        return None
    target = stream.target = stream.target or action.only or action.pick(world.draw())
    cluster = world.clusters.get(target.cluster) or find(world.clusters, target.cluster)
    if cluster is None:
        answer_without_cluster(stream, action, target)
        return None
    info.upstream_cluster = target.cluster
    info.upstream_metadata = cluster.upstream
    return _Forwarding(stream, action, target, cluster, world).run()


Step = Callable[[], Coroutine[Any, Any, bool]]
"""What follows an attempt that failed or was too slow; whether another is to be made then."""


class _Forwarding(ResponsePassing):
    """One forwarded request and its attempts. What a plain request does not use stays None."""

    __slots__ = (
        "_attempt",
        "_policy",
        "_recovery",
        "_timeouts",
    )

    def __init__(
        self,
        stream: DownstreamStream,
        action: ForwardAction,
        target: ClusterTarget,
        cluster: Cluster,
        world: RouterEnvironment,
    ) -> None:
        self._stream = stream
        self._action = action
        self._target = target
        self._cluster = cluster
        self._world = world
        self._policy = action.retry  # None: nothing is retried (any more)
        self._timeouts = action.timeouts
        self._attempt: UpstreamAttempt | None = None
        self._recovery: Recovery | None = None  # since an attempt failed, or called for another
        self._timers = None
        self._feed = None  # of a request with a body
        self._selection = None  # of a hashed request, or one that is retried
        self._slow = None  # of a request that hedges
        self._received = False  # the whole request
        self._received_at = 0.0
        self._started = 0.0

    async def run(self) -> None:
        """One attempt after another, until the client is answered."""
        self._settle()
        pause = self._world.pause
        step: Step | None = None
        try:
            while True:
                try:
                    if step is not None and not await step():
                        break
                    attempt = self._begin_attempt()
                    if attempt is None:
                        break
                    while not self._is_answered(attempt):
                        await pause
                    if not self._wants_another(attempt):
                        rest = self._pass_response(attempt)
                        if rest is not None:
                            await rest
                        break
                    step = self._back_off if self._attempt is not None else self._wait_for_slow
                except (UpstreamReset, PerTryTimeout, StreamDurationReached) as failure:
                    step = self._step_after(failure)
                except SlowAnswer as answer:
                    step = self._adopt(answer.attempt)
                if step is None:
                    break
        except RouteTimeout:
            if self._slow is not None:
                self._slow.time_out(self._timeouts.timeout_status)
            self._recover().on_route_timeout(self._attempt)
        except BufferExceeded:
            self._recover().reply(failure_reply.BUFFER_EXCEEDED)
        finally:
            self._release()

    def _settle(self) -> None:
        """What holds for every attempt."""
        stream, world = self._stream, self._world
        self._started = world.now()
        self._timeouts, self._policy = prepare(stream, self._action, self._target)
        if self._timeouts is not NO_TIMEOUTS:
            self._timers = RequestTimers(self._timeouts, world.deadlines, stream.flow)
        if self._action.hash_policy is not None and self._cluster.hashes:
            self._selection = self._select()
        if stream.body.chunks or not stream.body.complete:
            keeps = self._policy is not None and self._policy.num_retries > 0
            self._feed = RequestFeed(stream, self._on_received, self._on_too_long, keeps=keeps)

    def _release(self) -> None:
        """The request is over, whatever happened."""
        if self._attempt is not None and not self._attempt.ended:
            self._attempt.abandon()
        if self._timers is not None:
            self._timers.disarm()
        if self._recovery is not None:
            self._recovery.release()
        if self._feed is not None:
            self._feed.close()
        if self._slow is not None:
            self._slow.abandon()

    def _recover(self) -> Recovery:
        """A request whose first attempt is answered well has no recovery."""
        if self._recovery is None:
            self._recovery = Recovery(
                self._stream, self._cluster, self._target.response_ops, self._timeouts, self._action.stats
            )
        return self._recovery

    def _select(self) -> HostSelection:
        return HostSelection(self._stream, self._cluster, self._action.hash_policy, self._policy)

    def _step_after(self, failure: UpstreamReset | PerTryTimeout | StreamDurationReached) -> Step | None:
        """What follows an attempt that failed; None: the client was told."""
        attempt, policy, recovery = self._attempt, self._policy, self._recover()
        assert attempt is not None
        if isinstance(failure, UpstreamReset):
            retries = recovery.after_reset(attempt, failure, policy, others=bool(self._slow))
        elif isinstance(failure, StreamDurationReached):
            retries = recovery.after_stream_duration(attempt, policy, request_received=self._received)
            if self._slow is not None and not retries:
                self._slow.abandon()
        elif self._timeouts.hedge and not self._stream.response_started:
            self._slow = self._slow or SlowAttempts(self._cluster)
            self._slow.add(attempt)
            retries = policy is not None and recovery.takes_hedge(policy)
            self._slow.latest = None if retries else attempt
        else:
            retries = recovery.after_per_try_timeout(attempt, policy)
        if retries:
            return self._back_off
        return self._wait_for_slow if self._slow else None

    # Where a slow attempt goes on beside the next one.

    async def _wait_for_slow(self) -> bool:
        """No further attempt is made, but earlier ones are under way still."""
        slow, self._attempt = self._slow, None
        assert slow is not None
        if self._timers is not None:
            self._timers.on_attempt_over()
        failure = await slow.wait(self._policy, self._world.pause)
        if failure is not None:
            self._recover().after_last(failure)
        return False

    def _adopt(self, attempt: UpstreamAttempt) -> Step:
        """An earlier attempt answered first."""
        if self._attempt is not None and self._attempt is not attempt and not self._attempt.ended:
            self._attempt.abandon()
        self._attempt = attempt
        if self._timers is not None:
            self._timers.on_attempt_over()
        if self._slow is not None and attempt is self._slow.latest:
            self._recover().takes_retry(None, wanted=False)
        self._recover().release()
        info = self._stream.info
        info.upstream_host, info.upstream_metadata = attempt.host.name, attempt.host.upstream
        return self._pass_adopted

    async def _pass_adopted(self) -> bool:
        assert self._attempt is not None
        rest = self._pass_response(self._attempt)
        if rest is not None:
            await rest
        return False

    # One attempt.

    def _begin_attempt(self) -> UpstreamAttempt | None:
        """Choose a host and ask for a connection; None: there is no host, and the client was told. Raises UpstreamReset."""
        stream, cluster = self._stream, self._cluster
        info = stream.info
        info.upstream_attempts += 1
        host = cluster.pick(stream) if self._selection is None else self._selection.pick()
        if host is None:
            cluster.stats.upstream_cx_none_healthy.value += 1
            self._recover().reply(failure_reply.NO_HEALTHY_UPSTREAM)
            return None
        info.upstream_host = host.name
        info.upstream_metadata = host.upstream
        if self._action.mirrors:
            self._start_mirrors()
        pool = cluster.pool(host, stream.alpn_override, stream.authority)
        attempt = self._attempt = UpstreamAttempt(stream.flow, host, pool)
        try:
            connection = pool.acquire(attempt)
        except UpstreamReset as overflow:
            attempt.failure = overflow
            raise
        if connection is not None:
            attempt.connection = connection  # type: ignore[assignment]  # pools of HTTP clusters hold HTTP connections
        return attempt

    def _is_answered(self, attempt: UpstreamAttempt) -> bool:
        """Whether a response has begun; until then, do what can be done. Raises UpstreamReset if none will."""
        if attempt.response is not None:
            self._pass_informational(attempt)
        elif attempt.connection is not None:
            self._send_request(attempt)
        if attempt.response is not None and attempt.response.status:
            return True
        if attempt.failure is not None:
            raise attempt.failure
        if attempt.response is None:
            self._hold_request()
        elif not self._received:
            self._upload(attempt)
        if self._slow is not None:
            self._slow.look(self._policy, others=True)
        return False

    def _start_mirrors(self) -> None:
        """With the first attempt, as soon as there is a host for it. Upgraded protocols are not copied."""
        stream = self._stream
        if stream.info.upstream_attempts == 1 and stream.upgrade is None:
            number = 1 if self._action.attempt_count else 0
            headers = headers_of_attempt(stream, self._timeouts, number, 0.0)
            mirrors = mirror.start(self._action.mirrors, stream, headers, self._timeouts.route, self._world)
            if self._feed is not None:
                self._feed.mirrors = mirrors

    def _hold_request(self) -> None:
        """There is no connection yet: the request goes on arriving, and its time counts."""
        if self._feed is not None:
            self._feed.hold(between_attempts=False)
        elif not self._received:
            self._on_received()

    def _send_request(self, attempt: UpstreamAttempt) -> None:
        stream, connection = self._stream, attempt.connection
        assert connection is not None
        info = stream.info
        if self._action.stats is not None:
            self._action.stats.upstream_rq_total.value += 1
        info.upstream_local_address = connection.local_address
        info.upstream_peer_uri_san = connection.peer_uri_san
        if attempt.host.monitor is not None:
            attempt.host.monitor.on_connected()
        attempt.response = connection.begin(stream.method, attempt)
        chunks: list[bytes] = []
        if self._feed is not None:
            chunks = self._feed.first()
        elif not self._received:
            self._received = True
            self._received_at = self._started  # it was complete then, and did not wait since
            if self._timers is not None:
                self._timers.on_request_received()
        # Only a retry has lost some of the time.
        elapsed = 0.0
        if self._recovery is not None and self._received:
            elapsed = self._world.now() - self._received_at
        number = info.upstream_attempts if self._action.attempt_count else 0
        headers = headers_of_attempt(stream, self._timeouts, number, elapsed)
        connection.send_request(stream, headers, chunks, self._received)
        attempt.request_sent = True
        if self._timers is not None:
            self._timers.on_connected(received=self._received)

    def _on_received(self) -> None:
        """The request is complete: from here the timeouts count, if there is an attempt under way; Envoy's quirk."""
        self._received = True
        self._received_at = self._world.now()
        if self._timers is not None and self._attempt is not None and self._stream.upgrade is None:
            self._timers.on_request_received()

    def _on_too_long(self) -> None:
        """The body is too long to be sent again: no further attempt."""
        self._cluster.stats.retry_or_shadow_abandoned.value += 1
        self._policy = None

    async def _back_off(self) -> bool:
        """Wait before the next attempt; the request body goes on arriving meanwhile."""
        attempt, feed, world = self._attempt, self._feed, self._world
        assert self._recovery is not None
        retry = self._recovery.retry
        assert retry is not None
        assert attempt is not None
        self._selection = self._selection or self._select()
        self._selection.attempted(attempt.host)
        self._attempt = None
        if self._timers is not None:
            self._timers.on_attempt_over()
        if feed is not None:
            feed.rewind()
        response = attempt.response
        if response is not None and retry.policy.retries_at_once(response.status):
            retry.begin(backed_off=False)
            return True
        until = world.now() + retry.back_off(world.draw())
        deadline = world.deadlines.arm(until, self._stream.flow.wake)
        try:
            while world.now() < until:
                if feed is not None:
                    feed.hold(between_attempts=True)
                if self._slow is not None:
                    self._slow.look(self._policy, others=True)
                await world.pause
        finally:
            world.deadlines.disarm(deadline)
        retry.begin(backed_off=True)
        return True

    # The response.

    def _wants_another(self, attempt: UpstreamAttempt) -> bool:
        """Whether to drop this response and attempt again, as far as policy and budget go."""
        response, policy, host = attempt.response, self._policy, attempt.host
        assert response is not None
        status, fields = response.status, response.fields
        wanted = policy is not None and policy.wants_response(status, fields, response.headers)
        if b"grpc-status" in fields:
            content_type = self._stream.fields.get(b"content-type")
            status = outcome(status, fields[b"grpc-status"], content_type)
        if host.monitor is not None:
            host.monitor.on_response(status)
        if (wanted or self._recovery is not None) and self._recover().takes_retry(policy, wanted=wanted):
            host.rq_error += 1
            self._cluster.stats.count_retried(response.status)
            if response.complete and not response.chunks:
                attempt.end(reusable=response.reusable and self._received)
            else:
                attempt.abandon()
            return True
        if wanted and self._slow:
            host.rq_error += 1
            attempt.abandon()
            self._attempt = None  # an earlier attempt may still answer better
            return True
        self._cluster.stats.count_response(response.status)
        if self._action.stats is not None:
            self._action.stats.count_response(response.status)
        if status >= 500:
            host.rq_error += 1
        else:
            host.rq_success += 1
        return False
