"""The retries of one request: how many are left, and whether its cluster has room for one more.

Made when an attempt first calls for another; a request whose first attempt serves never has one. Invariant: the unit of
the cluster's retry breaker is held from the decision to retry until that retry's own outcome is known, and given back once.
Reference: Envoy source/common/router/retry_state_impl.cc (`shouldRetry`, `resetRetry`); reference §5.8.
"""

from __future__ import annotations

from proxy.observability import response_flags as flags
from proxy.router.retry import RetryPolicy
from proxy.router.route_stats import RouteStats
from proxy.upstream.cluster import Cluster


class RetryState:
    """`retried` counts the retries decided on; `flag` says why the last one was refused (0: it was not)."""

    __slots__ = ("_cluster", "_holding", "_route_stats", "flag", "policy", "remaining", "retried")

    def __init__(self, policy: RetryPolicy, cluster: Cluster, route_stats: RouteStats | None = None) -> None:
        self.policy = policy
        self.remaining = policy.num_retries
        self.retried = 0
        self.flag = 0
        self._cluster = cluster
        self._route_stats = route_stats
        self._holding = False

    def take(self) -> bool:
        """The attempt calls for another: take one retry, if one is left and the cluster has room for it."""
        stats = self._cluster.stats
        if not self.remaining:
            stats.upstream_rq_retry_limit_exceeded.value += 1
            if self._route_stats is not None:
                self._route_stats.upstream_rq_retry_limit_exceeded.value += 1
            self.flag = flags.URX
            return False
        self.remaining -= 1
        self.release()
        retries = self._cluster.breaker.retries
        if not retries.allows():
            stats.upstream_rq_retry_overflow.value += 1
            if self._route_stats is not None:
                self._route_stats.upstream_rq_retry_overflow.value += 1
            self.flag = flags.UO
            return False
        retries.take()
        self._holding = True
        self.retried += 1
        return True

    def settle(self) -> None:
        """The attempt's outcome stands, whatever it is. Envoy calls a retry that asked for no other a success."""
        if self._holding:
            self._cluster.stats.upstream_rq_retry_success.value += 1
            if self._route_stats is not None:
                self._route_stats.upstream_rq_retry_success.value += 1
        self.release()

    def back_off(self, draw: float) -> float:
        """Seconds to wait before the retry just taken; `draw` is uniform in [0, 1)."""
        return self.policy.back_off(self.retried, draw)

    def begin(self, *, backed_off: bool) -> None:
        """The wait is over and the retry begins; Envoy counts it only now."""
        stats = self._cluster.stats
        stats.upstream_rq_retry.value += 1
        if self._route_stats is not None:
            self._route_stats.upstream_rq_retry.value += 1
        if backed_off:
            stats.upstream_rq_retry_backoff_exponential.value += 1

    def release(self) -> None:
        """Give the breaker's unit back, if one is held."""
        if self._holding:
            self._holding = False
            self._cluster.breaker.retries.give_back()

    def __repr__(self) -> str:
        return f"<RetryState retried={self.retried} remaining={self.remaining}>"
