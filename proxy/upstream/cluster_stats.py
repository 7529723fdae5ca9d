"""The stat handles of one cluster, by Envoy's names, resolved once when the cluster arrives.

Reference: Envoy "cluster statistics"; reference §10.4.
"""

from __future__ import annotations

from functools import lru_cache

from proxy.observability.stats import Counter, StatsStore


class ClusterStats:
    """Counters and gauges as attributes of their own names; response codes by `count_response`."""

    def __init__(self, store: StatsStore, name: str) -> None:
        self._store = store
        self._prefix = f"cluster.{name}."
        counter, gauge = store.counter, store.gauge
        self.lb_healthy_panic = counter(self._prefix + "lb_healthy_panic")
        self.membership_change = counter(self._prefix + "membership_change")
        self.upstream_cx_total = counter(self._prefix + "upstream_cx_total")
        self.upstream_cx_http1_total = counter(self._prefix + "upstream_cx_http1_total")
        self.upstream_cx_connect_fail = counter(self._prefix + "upstream_cx_connect_fail")
        self.upstream_cx_connect_timeout = counter(self._prefix + "upstream_cx_connect_timeout")
        self.upstream_cx_connect_attempts_exceeded = counter(
            self._prefix + "upstream_cx_connect_attempts_exceeded"
        )
        self.upstream_cx_destroy = counter(self._prefix + "upstream_cx_destroy")
        self.upstream_cx_destroy_local = counter(self._prefix + "upstream_cx_destroy_local")
        self.upstream_cx_destroy_local_with_active_rq = counter(
            self._prefix + "upstream_cx_destroy_local_with_active_rq"
        )
        self.upstream_cx_destroy_remote = counter(self._prefix + "upstream_cx_destroy_remote")
        self.upstream_cx_destroy_remote_with_active_rq = counter(
            self._prefix + "upstream_cx_destroy_remote_with_active_rq"
        )
        self.upstream_cx_destroy_with_active_rq = counter(self._prefix + "upstream_cx_destroy_with_active_rq")
        self.upstream_cx_idle_timeout = counter(self._prefix + "upstream_cx_idle_timeout")
        self.upstream_cx_max_duration_reached = counter(self._prefix + "upstream_cx_max_duration_reached")
        self.upstream_cx_max_requests = counter(self._prefix + "upstream_cx_max_requests")
        self.upstream_cx_none_healthy = counter(self._prefix + "upstream_cx_none_healthy")
        self.upstream_cx_overflow = counter(self._prefix + "upstream_cx_overflow")
        self.upstream_cx_protocol_error = counter(self._prefix + "upstream_cx_protocol_error")
        self.upstream_cx_rx_bytes_total = counter(self._prefix + "upstream_cx_rx_bytes_total")
        self.upstream_cx_tx_bytes_total = counter(self._prefix + "upstream_cx_tx_bytes_total")
        self.upstream_rq_total = counter(self._prefix + "upstream_rq_total")
        self.upstream_rq_active_overflow = counter(self._prefix + "upstream_rq_active_overflow")
        self.upstream_rq_completed = counter(self._prefix + "upstream_rq_completed")
        self.upstream_rq_cancelled = counter(self._prefix + "upstream_rq_cancelled")
        self.upstream_rq_pending_total = counter(self._prefix + "upstream_rq_pending_total")
        self.upstream_rq_pending_overflow = counter(self._prefix + "upstream_rq_pending_overflow")
        self.upstream_rq_pending_failure_eject = counter(self._prefix + "upstream_rq_pending_failure_eject")
        self.upstream_rq_per_try_timeout = counter(self._prefix + "upstream_rq_per_try_timeout")
        self.upstream_rq_retry = counter(self._prefix + "upstream_rq_retry")
        self.upstream_rq_retry_limit_exceeded = counter(self._prefix + "upstream_rq_retry_limit_exceeded")
        self.upstream_rq_retry_overflow = counter(self._prefix + "upstream_rq_retry_overflow")
        self.upstream_rq_retry_success = counter(self._prefix + "upstream_rq_retry_success")
        self.upstream_rq_retry_backoff_exponential = counter(
            self._prefix + "upstream_rq_retry_backoff_exponential"
        )
        self.upstream_rq_max_duration_reached = counter(self._prefix + "upstream_rq_max_duration_reached")
        self.upstream_rq_rx_reset = counter(self._prefix + "upstream_rq_rx_reset")
        self.retry_or_shadow_abandoned = counter(self._prefix + "retry_or_shadow_abandoned")
        self.upstream_rq_timeout = counter(self._prefix + "upstream_rq_timeout")
        self.upstream_rq_tx_reset = counter(self._prefix + "upstream_rq_tx_reset")
        self.membership_degraded = gauge(self._prefix + "membership_degraded")
        self.membership_healthy = gauge(self._prefix + "membership_healthy")
        self.membership_total = gauge(self._prefix + "membership_total")
        self.upstream_cx_active = gauge(self._prefix + "upstream_cx_active")
        self.upstream_rq_active = gauge(self._prefix + "upstream_rq_active")
        self.upstream_rq_pending_active = gauge(self._prefix + "upstream_rq_pending_active")
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

    def count_session_reused(self) -> None:
        """A TLS handshake to the upstream resumed a session."""
        self._store.counter(self._prefix + "ssl.session_reused").value += 1

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


_BREAKERS = ("cx", "rq_pending", "rq", "rq_retry")
_REMAINING = ("cx", "pending", "rq", "retries")


@lru_cache(maxsize=1)
def _stat_names() -> tuple[str, ...]:
    """What every cluster has from the beginning, after `cluster.NAME.`."""
    probe = StatsStore()
    ClusterStats(probe, "")
    names = [stat.name.removeprefix("cluster..") for found in probe.plain() for stat in found]
    names += [f"circuit_breakers.default.{name}_open" for name in _BREAKERS]
    names += [f"circuit_breakers.default.remaining_{name}" for name in _REMAINING]
    return tuple(names)


def any_registered(store: StatsStore, name: str) -> bool:
    """Whether any stat of a cluster would be on a page."""
    return store.registers_any(f"cluster.{name}.", _stat_names())
