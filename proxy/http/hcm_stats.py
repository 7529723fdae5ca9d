"""The stat handles of one connection manager, by Envoy's names, resolved when its listener arrives.

Reference: Envoy "HTTP connection manager statistics"; reference §10.4.
"""

from __future__ import annotations

from proxy.observability.stats import Counter, Gauge, StatsStore


class HcmStats:
    """Counters and gauges of `http.<stat_prefix>.` as attributes of their own names."""

    downstream_cx_total: Counter
    downstream_cx_active: Gauge
    downstream_cx_http1_total: Counter
    downstream_cx_http1_active: Gauge
    downstream_cx_destroy: Counter
    downstream_cx_destroy_remote_active_rq: Counter
    downstream_cx_drain_close: Counter
    downstream_cx_idle_timeout: Counter
    downstream_cx_protocol_error: Counter
    downstream_cx_rx_bytes_total: Counter
    downstream_cx_tx_bytes_total: Counter
    downstream_cx_ssl_total: Counter
    downstream_cx_ssl_active: Gauge
    downstream_cx_upgrades_total: Counter
    downstream_cx_upgrades_active: Gauge
    downstream_rq_total: Counter
    downstream_rq_active: Gauge
    downstream_rq_http1_total: Counter
    downstream_rq_completed: Counter
    downstream_rq_1xx: Counter
    downstream_rq_2xx: Counter
    downstream_rq_3xx: Counter
    downstream_rq_4xx: Counter
    downstream_rq_5xx: Counter
    downstream_rq_rx_reset: Counter
    downstream_rq_timeout: Counter
    downstream_rq_max_duration_reached: Counter
    downstream_rq_response_before_rq_complete: Counter
    no_route: Counter
    no_cluster: Counter
    rq_direct_response: Counter
    rq_total: Counter

    def __init__(self, store: StatsStore, stat_prefix: str) -> None:
        prefix = f"http.{stat_prefix}."
        for stat, kind in HcmStats.__annotations__.items():
            make = store.counter if kind == "Counter" else store.gauge
            setattr(self, stat, make(prefix + stat))
        self.downstream_rq_time = store.histogram(prefix + "downstream_rq_time")
        self._by_class = (
            None,
            self.downstream_rq_1xx,
            self.downstream_rq_2xx,
            self.downstream_rq_3xx,
            self.downstream_rq_4xx,
            self.downstream_rq_5xx,
        )

    def count_response(self, status: int) -> None:
        """One finished request that got this status; 0: none, which Envoy does not call completed."""
        if not status:
            return
        self.downstream_rq_completed.value += 1
        by_class = self._by_class[status // 100] if status < 600 else None
        if by_class is not None:
            by_class.value += 1
