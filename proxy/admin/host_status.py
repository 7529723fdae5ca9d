"""One host of a cluster as `/clusters` shows it: a value, so that what several workers saw of a host can be one.

Reference: envoy.admin.v3.HostStatus.
"""

from __future__ import annotations

import msgspec

from proxy.upstream.host import Host

COUNTERS = ("cx_connect_fail", "cx_total", "rq_error", "rq_success", "rq_timeout", "rq_total")
GAUGES = ("cx_active", "rq_active", "rq_pending_active")


class HostStatus(msgspec.Struct):
    """`rq_pending_active` waits for a connection to this host. Rates are percent; -1: not known."""

    name: str
    address: tuple[str, int]
    health: str
    ejected: bool
    weight: int
    locality: tuple[str, str, str]
    priority: int
    cx_active: int
    cx_connect_fail: int
    cx_total: int
    rq_active: int
    rq_error: int
    rq_pending_active: int
    rq_success: int
    rq_timeout: int
    rq_total: int
    success_rate: float = -1
    local_origin_success_rate: float = -1

    def with_worker(self, other: HostStatus) -> HostStatus:
        """This host as two workers saw it: what they counted together, and ejected if either does not use it."""
        both = msgspec.structs.replace(self, ejected=self.ejected or other.ejected)
        for name in (*COUNTERS, *GAUGES):
            setattr(both, name, getattr(self, name) + getattr(other, name))
        return both

    def without_gauges(self) -> HostStatus:
        """What was counted, by a worker that is gone."""
        return msgspec.structs.replace(self, ejected=False, **dict.fromkeys(GAUGES, 0))


def of_host(host: Host) -> HostStatus:
    """How a host is at this moment."""
    monitor = host.monitor
    return HostStatus(
        name=host.name,
        address=host.address,
        health=host.health,
        ejected=host.ejected,
        weight=host.weight,
        locality=host.locality,
        priority=host.priority,
        cx_active=host.cx_active,
        cx_connect_fail=host.cx_connect_fail,
        cx_total=host.cx_total,
        rq_active=host.rq_active,
        rq_error=host.rq_error,
        rq_pending_active=sum(pool.waiting for pool in host.pools.values()),
        rq_success=host.rq_success,
        rq_timeout=host.rq_timeout,
        rq_total=host.rq_total,
        success_rate=monitor.rate if monitor is not None else -1,
        local_origin_success_rate=monitor.local_rate if monitor is not None else -1,
    )
