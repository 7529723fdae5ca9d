"""The stat handles of one cluster, by Envoy's names, resolved once when the cluster arrives.

Reference: Envoy "cluster statistics"; reference §10.4.
"""

from __future__ import annotations

from proxy.observability.stats import Counter, Gauge, StatsStore


class ClusterStats:
    """Counters and gauges as attributes of their own names; response codes by `count_response`."""

    lb_healthy_panic: Counter
    membership_change: Counter
    upstream_cx_total: Counter
    upstream_cx_http1_total: Counter
    upstream_cx_connect_fail: Counter
    upstream_cx_connect_timeout: Counter
    upstream_cx_connect_attempts_exceeded: Counter
    upstream_cx_destroy: Counter
    upstream_cx_destroy_local: Counter
    upstream_cx_destroy_local_with_active_rq: Counter
    upstream_cx_destroy_remote: Counter
    upstream_cx_destroy_remote_with_active_rq: Counter
    upstream_cx_destroy_with_active_rq: Counter
    upstream_cx_idle_timeout: Counter
    upstream_cx_max_duration_reached: Counter
    upstream_cx_max_requests: Counter
    upstream_cx_none_healthy: Counter
    upstream_cx_overflow: Counter
    upstream_cx_protocol_error: Counter
    upstream_cx_rx_bytes_total: Counter
    upstream_cx_tx_bytes_total: Counter
    upstream_rq_total: Counter
    upstream_rq_active_overflow: Counter
    upstream_rq_completed: Counter
    upstream_rq_cancelled: Counter
    upstream_rq_pending_total: Counter
    upstream_rq_pending_overflow: Counter
    upstream_rq_pending_failure_eject: Counter
    upstream_rq_per_try_timeout: Counter
    upstream_rq_retry: Counter
    upstream_rq_retry_limit_exceeded: Counter
    upstream_rq_retry_overflow: Counter
    upstream_rq_retry_success: Counter
    upstream_rq_retry_backoff_exponential: Counter
    upstream_rq_max_duration_reached: Counter
    upstream_rq_rx_reset: Counter
    retry_or_shadow_abandoned: Counter
    upstream_rq_timeout: Counter
    upstream_rq_tx_reset: Counter
    membership_degraded: Gauge
    membership_healthy: Gauge
    membership_total: Gauge
    upstream_cx_active: Gauge
    upstream_rq_active: Gauge
    upstream_rq_pending_active: Gauge

    def __init__(self, store: StatsStore, name: str) -> None:
        self._store = store
        self._prefix = f"cluster.{name}."
        for stat, kind in ClusterStats.__annotations__.items():
            make = store.counter if kind == "Counter" else store.gauge
            setattr(self, stat, make(self._prefix + stat))
        self.rq_time = store.histogram(self._prefix + "upstream_rq_time")
        self._by_code: dict[int, tuple[Counter, Counter]] = {}

    def count_connection_end(self, *, remote: bool, active: bool) -> None:
        """A connection is gone: ended by the peer or by us, with or without a request on it."""
        self.upstream_cx_active.value -= 1
        self.upstream_cx_destroy.value += 1
        (self.upstream_cx_destroy_remote if remote else self.upstream_cx_destroy_local).value += 1
        if active:
            self.upstream_cx_destroy_with_active_rq.value += 1
            by_whom = (
                self.upstream_cx_destroy_remote_with_active_rq
                if remote
                else self.upstream_cx_destroy_local_with_active_rq
            )
            by_whom.value += 1

    def count_retried(self, status: int) -> None:
        """One response that another attempt replaces: under `retry.` alone, as in Envoy."""
        for name in (f"upstream_rq_{status}", f"upstream_rq_{status // 100}xx", "upstream_rq_completed"):
            self._store.counter(f"{self._prefix}retry.{name}").value += 1

    def count_response(self, status: int) -> None:
        """One response, from the upstream or made here in its stead: `upstream_rq_{completed,2xx,200}`."""
        found = self._by_code.get(status)
        if found is None:
            counter = self._store.counter
            found = self._by_code[status] = (
                counter(f"{self._prefix}upstream_rq_{status}"),
                counter(f"{self._prefix}upstream_rq_{status // 100}xx"),
            )
        self.upstream_rq_completed.value += 1
        found[0].value += 1
        found[1].value += 1
