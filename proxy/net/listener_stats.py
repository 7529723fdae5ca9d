"""The stat handles of one listener, by Envoy's names: `listener.0.0.0.0_15006.…`.

Reference: Envoy "listener statistics"; reference §10.4.
"""

from __future__ import annotations

from proxy.observability.stats import Counter, Gauge, StatsStore


class ListenerStats:
    """Counters and gauges as attributes of their own names; a dot is an underscore."""

    downstream_cx_total: Counter
    downstream_cx_destroy: Counter
    downstream_cx_active: Gauge
    downstream_pre_cx_timeout: Counter
    downstream_pre_cx_active: Gauge
    downstream_cx_transport_socket_connect_timeout: Counter
    no_filter_chain_match: Counter
    ssl_handshake: Counter
    ssl_session_reused: Counter
    ssl_connection_error: Counter
    ssl_fail_verify_san: Counter

    def __init__(self, store: StatsStore, address: tuple[str, int]) -> None:
        prefix = f"listener.{address[0].replace(':', '_')}_{address[1]}."
        for stat, kind in ListenerStats.__annotations__.items():
            make = store.counter if kind == "Counter" else store.gauge
            setattr(self, stat, make(prefix + stat.replace("ssl_", "ssl.")))

    def connection_closed(self) -> None:
        """A served connection is over."""
        self.downstream_cx_active.value -= 1
        self.downstream_cx_destroy.value += 1
