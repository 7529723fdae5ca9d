"""One endpoint of a cluster: its address, what the mesh says of it, and its connection pools.

A host lives as long as its address stays in the cluster, whatever else of the endpoint changes; so its counters and
pools survive an update. Reference: Envoy source/common/upstream/upstream_impl.h (HostImpl).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from proxy.observability.workload import Upstream
from proxy.upstream.connector import Address
from proxy.upstream.failure import ResetReason
from proxy.upstream.transport import Transport

if TYPE_CHECKING:
    from proxy.upstream.pool import ConnectionPool

Metadata = Mapping[str, Any]
Health = Literal["HEALTHY", "UNHEALTHY", "DEGRADED", "DRAINING"]
_MANY_POOLS = 64


class HostMonitor(Protocol):
    """Outlier detection's ear at one host: told how each attempt ended. None where the cluster has no detection."""

    @property
    def rate(self) -> float:
        """Share of good answers in the last interval, percent; -1: not known."""

    @property
    def local_rate(self) -> float:
        """The same of what the host itself never answered."""

    def on_connected(self) -> None:
        """A request got a connection to the host."""

    def on_tcp_connected(self) -> None:
        """An opaque connection to the host is made."""

    def on_response(self, status: int) -> None:
        """The host answered with this HTTP status."""

    def on_failure(self, reason: ResetReason) -> None:
        """The attempt ended without a response: connect failure, reset or timeout."""

    def on_timeout(self) -> None:
        """The attempt, or the route, timed out while this host had the request."""


class Host:
    """`name` is `ip:port`. `upstream` names service and workload for metrics. `pools` are keyed by what a request adds to the
    transport: an ALPN list or TlsOptions; None: nothing.
    """

    __slots__ = (
        "address",
        "cx_active",
        "cx_connect_fail",
        "cx_total",
        "ejected",
        "health",
        "healthy_since",
        "locality",
        "locality_weight",
        "metadata",
        "monitor",
        "name",
        "pools",
        "priority",
        "rq_active",
        "rq_error",
        "rq_success",
        "rq_timeout",
        "rq_total",
        "transport",
        "upstream",
        "weight",
    )

    def __init__(
        self,
        address: Address,
        transport: Transport,
        *,
        weight: int = 1,
        health: Health = "HEALTHY",
        metadata: Metadata | None = None,
        locality: tuple[str, str, str] = ("", "", ""),
        locality_weight: int = 0,
        priority: int = 0,
        upstream: Upstream | None = None,
    ) -> None:
        self.address = address
        self.name = f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
        self.transport = transport
        self.weight = weight
        self.health: Health = health
        self.healthy_since: float | None = None  # s; kept by slow start
        self.ejected = False  # by outlier detection; the cluster is told with `health_changed`
        self.monitor: HostMonitor | None = None
        self.metadata: Metadata = metadata or {}
        self.locality = locality
        self.locality_weight = locality_weight
        self.priority = priority
        self.upstream = upstream
        self.pools: dict[object, ConnectionPool] = {}
        self.cx_active = self.cx_total = self.cx_connect_fail = 0
        self.rq_active = self.rq_total = self.rq_error = self.rq_success = self.rq_timeout = 0

    @property
    def healthy(self) -> bool:
        """What discovery says of it."""
        return self.health in ("HEALTHY", "DEGRADED")

    @property
    def degraded(self) -> bool:
        """Whether it takes traffic only where the healthy hosts do not suffice."""
        return self.health == "DEGRADED"

    @property
    def available(self) -> bool:
        """Whether load balancing may choose it."""
        return self.healthy and not self.ejected

    def update_from(self, other: Host) -> bool:
        """Take over what may change while the address stays. Whether it matters to load balancing."""
        before = (self.weight, self.health, self.metadata, self.locality, self.locality_weight, self.priority)
        self.weight = other.weight
        self.health = other.health
        self.metadata = other.metadata
        self.locality = other.locality
        self.locality_weight = other.locality_weight
        self.priority = other.priority
        self.upstream = other.upstream
        self.transport = other.transport
        return before != (
            self.weight,
            self.health,
            self.metadata,
            self.locality,
            self.locality_weight,
            self.priority,
        )

    def at(self, address: Address) -> Host:
        """The same endpoint, at an address its name resolved to."""
        return Host(
            address,
            self.transport,
            weight=self.weight,
            health=self.health,
            metadata=self.metadata,
            locality=self.locality,
            locality_weight=self.locality_weight,
            priority=self.priority,
            upstream=self.upstream,
        )

    def forget_unused_pools(self) -> None:
        """Make room before another pool is added; their keys may be callers' words. Looks through them at each power of two."""
        count = len(self.pools)
        if count >= _MANY_POOLS and not count & (count - 1):
            self.pools = {key: pool for key, pool in self.pools.items() if not pool.empty}

    def drain_connections(self) -> None:
        """Requests in flight finish; those that come get new connections."""
        for pool in self.pools.values():
            pool.drain_connections()

    def drain(self) -> None:
        """The host left its cluster: idle connections close, active requests finish."""
        for pool in self.pools.values():
            pool.drain()

    def __repr__(self) -> str:
        health = "ejected" if self.ejected else self.health.lower()
        return f"<Host {self.name} {health} weight={self.weight} rq_active={self.rq_active}>"
