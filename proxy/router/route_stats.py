"""The counters of a route with a `stat_prefix`: `vhost.VIRTUAL_HOST.route.STAT_PREFIX.upstream_rq_…`.

Resolved once when the route table arrives; a route without a prefix has none of this. Attempts count in `upstream_rq_total`, outcomes by
status. Reference: Envoy "Virtual host statistics", source/common/router/router.h (ALL_ROUTE_STATS).
"""

from __future__ import annotations

from proxy.observability.stats import StatsStore


class RouteStats:
    """Counters as attributes of their own names."""

    def __init__(self, store: StatsStore, virtual_host: str, stat_prefix: str) -> None:
        self._store = store
        self._prefix = f"vhost.{virtual_host}.route.{stat_prefix}."
        counter = store.counter
        self.upstream_rq_retry = counter(self._prefix + "upstream_rq_retry")
        self.upstream_rq_retry_limit_exceeded = counter(self._prefix + "upstream_rq_retry_limit_exceeded")
        self.upstream_rq_retry_overflow = counter(self._prefix + "upstream_rq_retry_overflow")
        self.upstream_rq_retry_success = counter(self._prefix + "upstream_rq_retry_success")
        self.upstream_rq_timeout = counter(self._prefix + "upstream_rq_timeout")
        self.upstream_rq_total = counter(self._prefix + "upstream_rq_total")

    def count_response(self, status: int) -> None:
        """One response that stands, from the upstream or made here in its stead."""
        for name in ("upstream_rq_completed", f"upstream_rq_{status}", f"upstream_rq_{status // 100}xx"):
            self._store.counter(self._prefix + name).value += 1

    def record_time(self, milliseconds: float) -> None:
        self._store.histogram(self._prefix + "upstream_rq_time").record(milliseconds)
