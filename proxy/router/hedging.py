"""Attempts that took longer than one may, and go on beside the next one: the first good answer wins.

Only requests whose trusted caller asks for it (`x-envoy-hedge-on-per-try-timeout`) have any. Such an attempt is not retried
again; what becomes of it is told to whoever looks. Invariant: all but the winner are given up.
Reference: Envoy source/common/router/router.cc (`onSoftPerTryTimeout`, `resetOtherUpstreams`); reference §8.3.
"""

from __future__ import annotations

from collections.abc import Awaitable

from proxy.router.retry import RetryPolicy
from proxy.router.upstream_attempt import UpstreamAttempt
from proxy.upstream.cluster import Cluster
from proxy.upstream.failure import UpstreamReset


class SlowAnswer(Exception):
    """An attempt that had taken too long has answered."""

    def __init__(self, attempt: UpstreamAttempt) -> None:
        super().__init__(repr(attempt))
        self.attempt = attempt


class SlowAttempts:
    """Those of one request. `failure` is how the last of them ended that did; `latest` the one no other attempt followed."""

    __slots__ = ("_attempts", "_cluster", "failure", "latest")

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._attempts: list[UpstreamAttempt] = []
        self.failure: UpstreamReset | None = None
        self.latest: UpstreamAttempt | None = None

    def __bool__(self) -> bool:
        return bool(self._attempts)

    def add(self, attempt: UpstreamAttempt) -> None:
        """This attempt's time is up, but it goes on."""
        self._attempts.append(attempt)
        if attempt.host.monitor is not None:
            attempt.host.monitor.on_timeout()

    def look(self, policy: RetryPolicy | None, *, others: bool) -> None:
        """Raise SlowAnswer if one of them has answered well, or badly with no other under way (`others`)."""
        for attempt in tuple(self._attempts):
            response = attempt.response
            if attempt.failure is not None:
                self._fail(attempt, attempt.failure)
            elif response is not None and response.status:
                self._attempts.remove(attempt)
                host = attempt.host
                if host.monitor is not None:
                    host.monitor.on_response(response.status)
                bad = policy is not None and policy.wants_response(
                    response.status, response.fields, response.headers
                )
                if not bad or not (others or self._attempts):
                    self._count(attempt, response.status)
                    self.abandon()
                    raise SlowAnswer(attempt)
                host.rq_error += 1
                attempt.abandon()

    async def wait(self, policy: RetryPolicy | None, pause: Awaitable[None]) -> UpstreamReset | None:
        """Until one has answered (SlowAnswer), or none is left: then how the last one ended."""
        while self._attempts:
            self.look(policy, others=False)
            if self._attempts:
                await pause
        return self.failure

    def _count(self, attempt: UpstreamAttempt, status: int) -> None:
        self._cluster.stats.count_response(status)
        if status >= 500:
            attempt.host.rq_error += 1
        else:
            attempt.host.rq_success += 1

    def _fail(self, attempt: UpstreamAttempt, failure: UpstreamReset) -> None:
        self._attempts.remove(attempt)
        self.failure = failure
        attempt.host.rq_error += 1
        if attempt.host.monitor is not None:
            attempt.host.monitor.on_failure(failure.reason)
        self._cluster.stats.count_response(failure.reason.status)

    def time_out(self, status: int) -> None:
        """The time of the whole request is up."""
        for attempt in self._attempts:
            self._cluster.stats.upstream_rq_timeout.value += 1
            self._cluster.stats.count_response(status)
            attempt.host.rq_timeout += 1
            attempt.host.rq_error += 1
        self.abandon()

    def abandon(self) -> None:
        """Another attempt won, or nobody waits any more."""
        attempts, self._attempts = self._attempts, []
        for attempt in attempts:
            attempt.abandon()

    def __repr__(self) -> str:
        return f"<SlowAttempts {self._attempts}>"
