"""The stat handles of one connection manager, by Envoy's names, resolved when its listener arrives.

Reference: Envoy "HTTP connection manager statistics"; reference §10.4.
"""

from __future__ import annotations

from proxy.observability.stats import StatsStore


class HcmStats:
    """Counters and gauges of `http.<stat_prefix>.` as attributes of their own names."""

    def __init__(self, store: StatsStore, stat_prefix: str) -> None:
        prefix = f"http.{stat_prefix}."
        counter, gauge = store.counter, store.gauge
        self.downstream_cx_total = counter(prefix + "downstream_cx_total")
        self.downstream_cx_active = gauge(prefix + "downstream_cx_active")
        self.downstream_cx_http1_total = counter(prefix + "downstream_cx_http1_total")
        self.downstream_cx_http1_active = gauge(prefix + "downstream_cx_http1_active")
        self.downstream_cx_destroy = counter(prefix + "downstream_cx_destroy")
        self.downstream_cx_destroy_remote_active_rq = counter(
            prefix + "downstream_cx_destroy_remote_active_rq"
        )
        self.downstream_cx_drain_close = counter(prefix + "downstream_cx_drain_close")
        self.downstream_cx_idle_timeout = counter(prefix + "downstream_cx_idle_timeout")
        self.downstream_cx_protocol_error = counter(prefix + "downstream_cx_protocol_error")
        self.downstream_cx_rx_bytes_total = counter(prefix + "downstream_cx_rx_bytes_total")
        self.downstream_cx_tx_bytes_total = counter(prefix + "downstream_cx_tx_bytes_total")
        self.downstream_cx_ssl_total = counter(prefix + "downstream_cx_ssl_total")
        self.downstream_cx_ssl_active = gauge(prefix + "downstream_cx_ssl_active")
        self.downstream_cx_upgrades_total = counter(prefix + "downstream_cx_upgrades_total")
        self.downstream_cx_upgrades_active = gauge(prefix + "downstream_cx_upgrades_active")
        self.downstream_rq_total = counter(prefix + "downstream_rq_total")
        self.downstream_rq_active = gauge(prefix + "downstream_rq_active")
        self.downstream_rq_http1_total = counter(prefix + "downstream_rq_http1_total")
        self.downstream_rq_completed = counter(prefix + "downstream_rq_completed")
        self.downstream_rq_1xx = counter(prefix + "downstream_rq_1xx")
        self.downstream_rq_2xx = counter(prefix + "downstream_rq_2xx")
        self.downstream_rq_3xx = counter(prefix + "downstream_rq_3xx")
        self.downstream_rq_4xx = counter(prefix + "downstream_rq_4xx")
        self.downstream_rq_5xx = counter(prefix + "downstream_rq_5xx")
        self.downstream_rq_rx_reset = counter(prefix + "downstream_rq_rx_reset")
        self.downstream_rq_timeout = counter(prefix + "downstream_rq_timeout")
        self.downstream_rq_max_duration_reached = counter(prefix + "downstream_rq_max_duration_reached")
        self.downstream_rq_response_before_rq_complete = counter(
            prefix + "downstream_rq_response_before_rq_complete"
        )
        self.no_route = counter(prefix + "no_route")
        self.no_cluster = counter(prefix + "no_cluster")
        self.rq_direct_response = counter(prefix + "rq_direct_response")
        self.rq_total = counter(prefix + "rq_total")
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
