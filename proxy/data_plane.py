"""Puts the data path together: from a snapshot of configuration to sockets that serve it.

The one entry for whoever has configuration: `apply(snapshot)` prepares every listener, route table and cluster, refuses
the whole if anything is wrong, and then swaps at once, clusters before the routes and listeners that name them.
Part of the composition root; decides nothing about traffic.
Reference: ARCHITECTURE.md, "One push is one snapshot"; reference §16, §18.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from proxy import clock
from proxy.config.access_log import AccessLog
from proxy.config.cluster import Cluster as ClusterConfig
from proxy.config.decode import ConfigError
from proxy.config.listener import Listener
from proxy.config.network_filters import HttpConnectionManager, TcpProxy
from proxy.config.route import RouteConfiguration
from proxy.config.route_pieces import alike_but_for_hosts
from proxy.config.snapshot import Snapshot, Steps, finish
from proxy.deadlines import Deadlines
from proxy.http import hcm_builder
from proxy.http.client_connection import ClientConnection
from proxy.http.codec import Http1Codec, http1_codec
from proxy.http.filters.peer_metadata import PeerMetadataParts
from proxy.http.filters.router import Terminal
from proxy.http.hcm_builder import HcmParts
from proxy.http.network_filter import HttpNetworkFilter
from proxy.http.per_filter import RouteFilters
from proxy.http.rate_limiter import MakeBucket
from proxy.http.settings import RouteSource
from proxy.net.connect import SocketConnector
from proxy.net.flow import PAUSE
from proxy.net.hangups import Hangups
from proxy.net.listener import bind as listening_socket
from proxy.net.listener_builder import ListenerParts
from proxy.net.listener_config import ListenerRuntime, NetworkFilter
from proxy.net.listener_manager import ListenerManager
from proxy.net.local_address import local_address
from proxy.net.resolve import Named, Resolver
from proxy.net.tcp_proxy import TcpProxyFilter
from proxy.observability.stats import StatsStore
from proxy.observability.stream_info import StreamInfo
from proxy.router.environment import RouterEnvironment
from proxy.router.matcher import RouteTable, RouteTableError
from proxy.router.route import Route
from proxy.router.route_builder import build_table
from proxy.tls.contexts import downstream_context, upstream_context
from proxy.tls.secrets import SecretStore
from proxy.upstream.circuit_breaker import SharedCount
from proxy.upstream.cluster import Cluster
from proxy.upstream.cluster_builder import ClusterParts
from proxy.upstream.cluster_manager import ClusterManager, PreparedClusters
from proxy.upstream.connector import Connector
from proxy.upstream.host import Host
from proxy.upstream.outlier_monitor import SharedFailures

DNS_REFRESH = 5.0  # s, Envoy's Cluster.dns_refresh_rate
Logger = Callable[[StreamInfo], None]


def _no_loggers(_: Iterable[AccessLog]) -> list[Logger]:
    return []


def _no_stats(_: str) -> Logger:
    return lambda _: None


def _not_counted(_: str, __: StreamInfo) -> None:
    """Nobody asks for live TCP metrics."""


def _none_shared(_: str) -> Sequence[SharedCount]:
    return ()


@dataclass(slots=True)
class Services:
    """What the data path gets from the rest of the sidecar. The defaults serve tests and tools."""

    stats: StatsStore = field(default_factory=StatsStore)
    secrets: SecretStore = field(default_factory=SecretStore)
    access_loggers: Callable[[Iterable[AccessLog]], list[Logger]] = _no_loggers
    istio_http_stats: Callable[[str], Logger] = _no_stats
    istio_tcp_stats: Callable[[str], Logger] = _no_stats
    istio_tcp_opened: Callable[[str, StreamInfo], None] = _not_counted
    """Told (reporter, info) of a TCP connection that begins; `info` grows until the logger gets it."""
    peer_metadata: PeerMetadataParts = field(
        default_factory=lambda: PeerMetadataParts(b"", b"", lambda _: None)
    )
    local_uri_san: Callable[[], str | None] = lambda: None
    drain_time: float = 600.0
    http1_codec: str = "httptools"
    locality: tuple[str, str, str] | None = None
    """Where this proxy runs, if its bootstrap says so."""
    bind: Callable[[tuple[str, int]], socket.socket] = listening_socket
    """Gives the listening socket of an address."""
    shared_counts: Callable[[str], Sequence[SharedCount]] = _none_shared
    """See ClusterParts."""
    on_ejected: Callable[[str, Host], None] | None = None
    """See ClusterParts."""
    shared_failures: Callable[[str, str], SharedFailures | None] | None = None
    """See ClusterParts."""
    shared_buckets: Callable[[str], MakeBucket] | None = None
    """Makes the token buckets of the limits of a route table or filter chain, by its name, for all workers of this sidecar."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A snapshot that can be used, built, but not yet in force."""

    snapshot: Snapshot
    tables: dict[str, tuple[RouteConfiguration, RouteTable[Route]]]
    clusters: PreparedClusters
    listeners: dict[str, ListenerRuntime]


class DataPlane:
    """`listeners` and `clusters` are the managers, for admin pages. `connector`, `now` and `hangups` are replaced in tests."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        services: Services,
        connector: Connector | None = None,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._loop = loop
        self._services = services
        self.deadlines = Deadlines(loop.call_later, now)
        self.hangups = Hangups(loop)
        draw = random.random
        self._world = RouterEnvironment({}, self.deadlines, now, draw, PAUSE, local_address().encode())
        self._routes: dict[str, RouteSource] = {}
        codec = http1_codec(services.http1_codec)
        self._hcm_parts = HcmParts(
            services.stats,
            services.access_loggers,
            services.istio_http_stats,
            services.peer_metadata,
            draw,
            codec,
            self.deadlines,
            self._world.local_address,
        )
        connector = connector or SocketConnector(loop, self.deadlines)
        self.clusters = ClusterManager(
            self._cluster_parts(connector, codec), self._set_clusters, self._resolve
        )
        self._resolver = Resolver(loop)
        self.listeners = ListenerManager(
            loop, self.deadlines, self._listener_parts(), services.drain_time, services.bind
        )

    def _cluster_parts(self, connector: Connector, codec: Http1Codec) -> ClusterParts:
        services = self._services
        return ClusterParts(
            stats=services.stats,
            connector=connector,
            wrap=lambda end, pool: ClientConnection(self._loop, self.deadlines, end, pool, codec),
            upstream_tls=lambda config: upstream_context(config, services.secrets),
            draw=random.random,
            deadlines=self.deadlines,
            locality=services.locality,
            shared_counts=services.shared_counts,
            on_ejected=services.on_ejected,
            shared_failures=services.shared_failures,
        )

    def _listener_parts(self) -> ListenerParts:
        services = self._services
        return ListenerParts(
            stats=services.stats,
            access_loggers=services.access_loggers,
            downstream_tls=lambda config: downstream_context(config, services.secrets),
            local_uri_san=services.local_uri_san,
            network_filter=self._network_filter,
            tcp_stats=services.istio_tcp_stats,
        )

    def _set_clusters(self, clusters: Mapping[str, object]) -> None:
        self._world.clusters = clusters  # type: ignore[assignment]  # the manager's own mapping

    def _resolve(self, cluster: Cluster, wanted: ClusterConfig, hosts: list[Host]) -> None:
        names = [Named(host.address[0], host.address[1], host.at) for host in hosts]
        refresh = float(wanted.dns_refresh_rate or DNS_REFRESH)
        self._resolver.track(cluster, names, refresh, wanted.dns_lookup_family)

    # Configuration.

    def apply(
        self,
        snapshot: Snapshot,
        static_listeners: Mapping[str, Listener] | None = None,
        static_clusters: Mapping[str, ClusterConfig] | None = None,
    ) -> list[str]:
        """`prepare` and `commit` in one."""
        return self.commit(self.prepare(snapshot, static_listeners, static_clusters))

    def prepare(
        self,
        snapshot: Snapshot,
        static_listeners: Mapping[str, Listener] | None = None,
        static_clusters: Mapping[str, ClusterConfig] | None = None,
    ) -> Prepared:
        """Build what is new. Raises ConfigError if any of it cannot be used; nothing has changed then."""
        return finish(self.prepare_steps(snapshot, static_listeners, static_clusters))

    def prepare_steps(
        self,
        snapshot: Snapshot,
        static_listeners: Mapping[str, Listener] | None = None,
        static_clusters: Mapping[str, ClusterConfig] | None = None,
    ) -> Steps[Prepared]:
        """`prepare`, one thing after the other, with requests served in between."""
        tables = yield from self._prepare_tables(snapshot)
        clusters = yield from self.clusters.prepare_steps(static_clusters or {}, snapshot)
        listeners = self.listeners.prepare({**snapshot.listeners, **(static_listeners or {})})
        return Prepared(snapshot, tables, clusters, listeners)

    def commit(self, prepared: Prepared) -> list[str]:
        """Make it current, whole: to be called before anything else is prepared.

        Returns what went wrong outside the configuration: addresses that could not be bound.
        """
        self.clusters.commit(prepared.clusters)
        self._resolver.keep_only(set(self.clusters.clusters))
        for name, (config, table) in prepared.tables.items():
            holder = self._holder(name)
            holder.config, holder.table = config, table
        for name, holder in self._routes.items():
            if name not in prepared.snapshot.routes:
                holder.config = holder.table = None
        return self.listeners.commit(prepared.listeners)

    def _prepare_tables(
        self, snapshot: Snapshot
    ) -> Steps[dict[str, tuple[RouteConfiguration, RouteTable[Route]]]]:
        tables = {}
        for name, config in snapshot.routes.items():
            known = self._routes.get(name)
            if known is None or known.config is not config:
                where, bucket = f'routes["{name}"]', f"routes/{name}"
                tables[name] = config, self._table(config, where, bucket, known)
                yield
        return tables

    def _table(
        self, config: RouteConfiguration, where: str, name: str = "", known: RouteSource | None = None
    ) -> RouteTable[Route]:
        try:
            stats, share = self._services.stats, self._services.shared_buckets
            filters = RouteFilters(stats, self.deadlines.now)
            previous = None
            if share is not None:
                # Shared buckets are told apart by their number within a table, so that table is built whole.
                filters = RouteFilters(stats, self.deadlines.now, lambda n: share(f"{name}/{n}"))
            elif known is not None and known.config is not None and alike_but_for_hosts(config, known.config):
                previous = known.table
            return build_table(config, filters, stats, previous)
        except RouteTableError as error:
            raise ConfigError(f"{where}.{error}") from None

    def _holder(self, name: str) -> RouteSource:
        return self._routes.setdefault(name, RouteSource())

    def _network_filter(
        self, typed: HttpConnectionManager | TcpProxy, listener: Listener, loggers: list[Logger]
    ) -> NetworkFilter:
        """The terminal network filter of a chain: the one list of them."""
        if isinstance(typed, TcpProxy):
            reporter = "destination" if listener.traffic_direction == "INBOUND" else "source"
            return TcpProxyFilter(
                self._loop,
                self.deadlines,
                typed,
                self._world,
                self._services.access_loggers(typed.access_log) + loggers,
                self._services.stats,
                partial(self._services.istio_tcp_opened, reporter) if loggers else _ignored,
            )
        parts, name = self._hcm_parts, ""
        if self._services.shared_buckets is not None:
            name = _name_of_chain(typed, listener)
            parts = replace(parts, make_bucket=self._services.shared_buckets(name))
        if typed.rds is not None:
            routes = self._holder(typed.rds.route_config_name)
        else:
            assert typed.route_config is not None
            routes = RouteSource(self._table(typed.route_config, "route_config", name), typed.route_config)
        settings = hcm_builder.build(typed, routes, parts, direction=listener.traffic_direction)
        return HttpNetworkFilter(self._loop, self.deadlines, settings, Terminal(self._world), self.hangups)

    # The end.

    def drain(self, *, inbound_only: bool = False) -> None:
        """Graceful drain, see ListenerManager.drain."""
        self.listeners.drain(inbound_only=inbound_only)

    def close(self) -> None:
        """Break everything off."""
        self.listeners.close()
        self._world.close()
        self._resolver.close()
        self.clusters.close()
        self.hangups.close()
        self.deadlines.close()

    def __repr__(self) -> str:
        return f"<DataPlane {self.listeners!r} {self.clusters!r}>"


def _name_of_chain(terminal: HttpConnectionManager, listener: Listener) -> str:
    """What tells a chain from all others, in every worker and whatever came before: what it matches."""
    for chain in listener.filter_chains:
        if any(one.typed_config is terminal for one in chain.filters):
            return f"{listener.name}/{chain.filter_chain_match!r}"
    return f"{listener.name}/default"


def _ignored(_: StreamInfo) -> None:
    """The chain has no stats filter."""
