"""One cluster: its hosts, how to reach them, and how much at once.

A cluster object lives until its definition changes; endpoint updates change its hosts in place, so pools and counters of
hosts that stay survive. Knows no sockets (a Connector opens them) and no HTTP (`wrap` makes pooled connections).
Reference: Envoy source/common/upstream/upstream_impl.cc; reference §3.5, §6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from proxy.observability.workload import Upstream
from proxy.upstream.automatic_names import AutomaticNames
from proxy.upstream.circuit_breaker import CircuitBreaker
from proxy.upstream.cluster_stats import ClusterStats
from proxy.upstream.connector import Address, Connector, ConnectSettings
from proxy.upstream.host import Host
from proxy.upstream.host_set import OVERPROVISIONING_FACTOR, host_sets
from proxy.upstream.lb.balancer import Balancer
from proxy.upstream.lb.retry_priority import PreviousPriorities
from proxy.upstream.outlier_detection import OutlierDetector
from proxy.upstream.pool import ConnectionPool, Wrap
from proxy.upstream.transport import NO_OPTIONS, TlsOptions, Transport


class PickContext(Protocol):
    """What a load balancer may look at."""

    original_destination: Address | None
    hash_key: int | None
    """What the route's hash policy makes of the request (64 bits); None: no hash."""


class Cluster:
    """`hosts` holds all of them, healthy or not. Times in s; `idle_timeout` and `max_connection_duration` 0: none.

    `balancer` None: the cluster provides its hosts itself. `upstream` names its service for metrics.
    """

    def __init__(
        self,
        name: str,
        *,
        stats: ClusterStats,
        breaker: CircuitBreaker,
        connector: Connector,
        wrap: Wrap,
        balancer: Balancer | None,
        connect_settings: ConnectSettings,
        own_locality: tuple[str, str, str] | None = None,
        idle_timeout: float = 3600.0,
        max_requests_per_connection: int = 0,
        max_connection_duration: float = 0.0,
        automatic_names: AutomaticNames | None = None,
        upstream: Upstream | None = None,
        enable_trailers: bool = False,
    ) -> None:
        self.name = name
        self.stats = stats
        self.breaker = breaker
        self.connector = connector
        self.connect_settings = connect_settings
        self.idle_timeout = idle_timeout
        self.max_requests_per_connection = max_requests_per_connection
        self.max_connection_duration = max_connection_duration
        self.automatic_names = automatic_names
        self.upstream = upstream
        self.enable_trailers = enable_trailers
        self.preserve_case = False  # header names of its HTTP/1.1 responses are sent on as they came
        self.hosts: tuple[Host, ...] = ()
        self.outlier: OutlierDetector | None = None  # set by the builder where the cluster has detection
        self._wrap = wrap
        self._balancer = balancer
        self._own_locality = own_locality
        self.hashes = balancer is not None and balancer.hashes
        self.overprovisioning = self._balanced_with = OVERPROVISIONING_FACTOR

    def pick(
        self, context: PickContext, attempt: int = 0, attempted: PreviousPriorities | None = None
    ) -> Host | None:
        """The host for one request or connection; None: no healthy upstream.

        `attempt` counts the hosts turned down for it just now; `attempted` is the memory of its retry priority.
        """
        balancer = self._balancer
        if balancer is None:
            return None
        direct = balancer.direct
        if direct is not None and attempted is None:
            return direct.pick(balancer.draw)
        return balancer.pick(context.hash_key, attempt, attempted)

    def pool(self, host: Host, alpn: tuple[str, ...] | None, authority: bytes) -> ConnectionPool:
        """The pool of a host; `alpn` overrides what a TLS transport offers, `authority` is the request's host."""
        if host.transport.tls is None:
            alpn = None
        key: object = alpn
        if self.automatic_names is not None and host.transport.tls is not None:
            key = self.automatic_names.options(authority, alpn)
        pool = host.pools.get(key)
        if pool is None:
            host.forget_unused_pools()
            options = key if isinstance(key, TlsOptions) else TlsOptions(alpn) if alpn else NO_OPTIONS
            pool = host.pools[key] = ConnectionPool(self, host, host.transport, options, self._wrap)
        return pool

    def set_hosts(self, wanted: Iterable[Host]) -> None:
        """The cluster's endpoints from now on. A host whose address and transport stay is updated, not replaced."""
        before = {(host.address, host.transport.name): host for host in self.hosts}
        hosts: list[Host] = []
        changed: set[int] = set()  # priorities
        altered = not self.hosts
        for host in wanted:
            kept = before.pop((host.address, host.transport.name), None)
            if kept is None:
                hosts.append(host)
                changed.add(host.priority)
            else:
                altered |= kept.update_from(host)
                hosts.append(kept)
        self.hosts = tuple(hosts)
        changed.update(host.priority for host in before.values())
        self.stats.membership_change.value += len(changed)
        if self.outlier is not None:
            self.outlier.set_hosts(self.hosts)
        if altered or changed or self.overprovisioning != self._balanced_with:
            self.health_changed()  # not for a look-up that found the same: tables are kept
        for gone in before.values():
            gone.drain()

    def health_changed(self) -> None:
        """Some host became available, or is not any more: choose among those that are."""
        sets = host_sets(self.hosts, self.overprovisioning, self._own_locality)
        self._balanced_with = self.overprovisioning
        stats = self.stats
        stats.membership_total.value = len(self.hosts)
        stats.membership_healthy.value = sum(len(one.healthy) for one in sets)
        stats.membership_degraded.value = sum(len(one.degraded) for one in sets)
        if self._balancer is not None:
            self._balancer.update(sets)

    def drain(self) -> None:
        """The cluster left the configuration: idle connections close, active requests finish."""
        if self.outlier is not None:
            self.outlier.stop()
        for host in self.hosts:
            host.drain()

    def close(self) -> None:
        """Give every connection up."""
        for host in self.hosts:
            for pool in host.pools.values():
                pool.close()

    def __repr__(self) -> str:
        return f"<Cluster {self.name} hosts={len(self.hosts)} {self.breaker!r}>"


class OriginalDstCluster(Cluster):
    """ORIGINAL_DST: the host is where the client wanted to go; hosts come into being as they are asked for."""

    transport: Transport

    def pick(
        self, context: PickContext, attempt: int = 0, attempted: PreviousPriorities | None = None
    ) -> Host | None:
        address = context.original_destination
        if address is None:
            return None
        for host in self.hosts:
            if host.address == address:
                return host
        host = Host(address, self.transport, upstream=self.upstream)
        self.hosts = (*self.hosts, host)
        if self.outlier is not None:
            self.outlier.set_hosts(self.hosts)
        return host

    def forget_unused(self) -> None:
        """Drop hosts nobody is connected to (Envoy's cleanup_interval)."""
        self.hosts = tuple(host for host in self.hosts if any(not pool.empty for pool in host.pools.values()))
        if self.outlier is not None:
            self.outlier.set_hosts(self.hosts)
