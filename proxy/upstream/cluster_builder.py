"""Makes runtime clusters and hosts from the typed configuration.

Decides which transport each endpoint gets and which numbers apply where the configuration is silent. Knows no sockets.
Reference: envoy.config.cluster.v3.Cluster; Envoy source/common/upstream/upstream_impl.cc; reference §3.7, §6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from proxy.config import cluster as config
from proxy.config.endpoint import ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints
from proxy.config.secret import UpstreamTlsContext, UpstreamTransportSocket
from proxy.deadlines import Deadlines
from proxy.observability.stats import StatsStore
from proxy.observability.workload import Service, Upstream, service_of_cluster, workload_of_endpoint
from proxy.tls.contexts import TlsContext
from proxy.upstream import retry_budget
from proxy.upstream.automatic_names import AutomaticNames
from proxy.upstream.circuit_breaker import CircuitBreaker, Resource, SharedCount
from proxy.upstream.cluster import Cluster, OriginalDstCluster
from proxy.upstream.cluster_stats import ClusterStats
from proxy.upstream.connector import Connector, ConnectSettings, Keepalive
from proxy.upstream.host import Health, Host
from proxy.upstream.lb import Means, build_balancer
from proxy.upstream.lb.interface import Draw
from proxy.upstream.merged_updates import DEFAULT_WINDOW
from proxy.upstream.outlier_detection import OutlierDetector, OutlierStats
from proxy.upstream.outlier_monitor import SharedFailures
from proxy.upstream.pool import Wrap
from proxy.upstream.transport import RAW, Transport

DEFAULT_IDLE_TIMEOUT = 3600.0  # s; Envoy's default for upstream HTTP connections
_MATCH_METADATA = "envoy.transport_socket_match"
_DEFAULT_BREAKERS = config.Thresholds()
_HEALTH: dict[str, Health] = {
    "UNKNOWN": "HEALTHY",
    "HEALTHY": "HEALTHY",
    "UNHEALTHY": "UNHEALTHY",
    "TIMEOUT": "UNHEALTHY",
    "DRAINING": "DRAINING",
    "DEGRADED": "DEGRADED",
}


def _not_shared(_: str) -> Sequence[SharedCount]:
    return ()


@dataclass(frozen=True, slots=True)
class ClusterParts:
    """What every cluster is built with."""

    stats: StatsStore
    connector: Connector
    wrap: Wrap
    upstream_tls: Callable[[UpstreamTlsContext], TlsContext]
    draw: Draw
    deadlines: Deadlines
    locality: tuple[str, str, str] | None = None
    """The proxy's own."""
    shared_counts: Callable[[str], Sequence[SharedCount]] = _not_shared
    """What all workers of this sidecar have under way to a cluster, in the order of `_breaker`; empty where this is the only one."""
    on_ejected: Callable[[str, Host], None] | None = None
    """Told of a cluster's host that outlier detection ejected."""
    shared_failures: Callable[[str, str], SharedFailures | None] | None = None
    """What all workers count in a row at a host of a cluster."""


def transports(wanted: config.Cluster, parts: ClusterParts) -> TransportChoice:
    """The transports of a cluster's hosts, which may be what is wrong with it. Raises ValueError."""
    return TransportChoice(wanted, parts.upstream_tls)


def build(wanted: config.Cluster, parts: ClusterParts) -> tuple[Cluster, TransportChoice]:
    """A cluster without hosts, and the transports its hosts get."""
    choice = transports(wanted, parts)
    metadata = wanted.metadata.filter_metadata if wanted.metadata is not None else {}
    service = service_of_cluster({"filter_metadata": metadata})
    stats = ClusterStats(parts.stats, wanted.alt_stat_name or wanted.name)
    arguments: dict[str, Any] = {
        "stats": stats,
        "breaker": _breaker(wanted, parts.stats, parts.shared_counts(wanted.name)),
        "connector": parts.connector,
        "wrap": parts.wrap,
        "balancer": build_balancer(wanted, _means(parts), stats.lb_healthy_panic),
        "connect_settings": _connect_settings(wanted),
        "upstream": Upstream(service),
        **_http_arguments(_http_options(wanted)),
    }
    http1 = _http1_options(wanted)
    arguments["own_locality"] = parts.locality
    arguments["enable_trailers"] = http1 is not None and http1.enable_trailers
    cluster: Cluster
    if wanted.type != "ORIGINAL_DST":
        cluster = Cluster(wanted.name, **arguments)
    else:
        cluster = OriginalDstCluster(wanted.name, **arguments)
        cluster.transport = choice.for_metadata({})
    cluster.preserve_case = http1 is not None and http1.header_key_format is not None
    if wanted.outlier_detection is not None:
        cluster.outlier = _outlier_detector(wanted, cluster, parts)
    return cluster, choice


def _means(parts: ClusterParts) -> Means:
    return Means(parts.draw, parts.deadlines.now, partial(parts.deadlines.after, 0.0))


def _http_options(wanted: config.Cluster) -> config.HttpProtocolOptions | None:
    options = wanted.typed_extension_protocol_options
    return options.http if options is not None else None


def _http_arguments(options: config.HttpProtocolOptions | None) -> dict[str, Any]:
    """How long HTTP connections last, and what names their TLS takes; absent where the configuration is silent."""
    arguments: dict[str, Any] = {}
    common = options.common_http_protocol_options if options is not None else None
    if common is not None and common.idle_timeout is not None:
        arguments["idle_timeout"] = float(common.idle_timeout)
    if common is not None and common.max_requests_per_connection:
        arguments["max_requests_per_connection"] = common.max_requests_per_connection
    if common is not None and common.max_connection_duration:
        arguments["max_connection_duration"] = float(common.max_connection_duration)
    names = options.upstream_http_protocol_options if options is not None else None
    if names is not None and (names.auto_sni or names.auto_san_validation):
        arguments["automatic_names"] = AutomaticNames(sni=names.auto_sni, validate=names.auto_san_validation)
    return arguments


def _outlier_detector(wanted: config.Cluster, cluster: Cluster, parts: ClusterParts) -> OutlierDetector:
    settings = wanted.outlier_detection
    assert settings is not None
    options = _http_options(wanted)
    errors = options.outlier_detection if options is not None else None
    matcher = errors.error_matcher if errors is not None else None
    window = wanted.common_lb_config.update_merge_window if wanted.common_lb_config is not None else None
    return OutlierDetector(
        settings,
        OutlierStats(parts.stats, wanted.alt_stat_name or wanted.name),
        deadlines=parts.deadlines,
        draw=parts.draw,
        changed=cluster.health_changed,
        merge_window=DEFAULT_WINDOW if window is None else float(window),
        error_statuses=matcher.statuses if matcher is not None else None,
        on_ejected=partial(parts.on_ejected, wanted.name) if parts.on_ejected is not None else None,
        shared=partial(parts.shared_failures, wanted.name) if parts.shared_failures is not None else None,
    )


def _http1_options(wanted: config.Cluster) -> config.HttpOptions | None:
    """Those of whichever protocol choice is set."""
    options = _http_options(wanted)
    chosen = (
        options.explicit_http_config or options.use_downstream_protocol_config
        if options is not None
        else None
    )
    return chosen.http_protocol_options if chosen is not None else None


def _connect_settings(wanted: config.Cluster) -> ConnectSettings:
    bind, options = wanted.upstream_bind_config, wanted.upstream_connection_options
    source = None if bind is None else (bind.source_address.address, bind.source_address.port_value)
    probes = options.tcp_keepalive if options is not None else None
    keepalive = None
    if probes is not None:
        keepalive = Keepalive(probes.keepalive_probes, probes.keepalive_time, probes.keepalive_interval)
    return ConnectSettings(float(wanted.connect_timeout), source, keepalive)


def _breaker(wanted: config.Cluster, store: StatsStore, shared: Sequence[SharedCount]) -> CircuitBreaker:
    thresholds = wanted.circuit_breakers.thresholds if wanted.circuit_breakers is not None else []
    limits = next((one for one in thresholds if one.priority == "DEFAULT"), _DEFAULT_BREAKERS)
    prefix = f"cluster.{wanted.alt_stat_name or wanted.name}.circuit_breakers.default."

    def resource(which: int, limit: int, name: str, remaining: str) -> Resource:
        left = store.gauge(f"{prefix}remaining_{remaining}") if limits.track_remaining else None
        gauge = store.gauge(f"{prefix}{name}_open")
        return Resource(limit, gauge, left, shared[which] if shared else None)

    connections = resource(0, limits.max_connections, "cx", "cx")
    pending = resource(1, limits.max_pending_requests, "rq_pending", "pending")
    requests = resource(2, limits.max_requests, "rq", "rq")
    if limits.retry_budget is None:
        retries = resource(3, limits.max_retries, "rq_retry", "retries")
    else:
        gauge, count = store.gauge(prefix + "rq_retry_open"), shared[3] if shared else None
        retries = retry_budget.build(limits.retry_budget, limits.max_retries, gauge, requests, pending, count)
    return CircuitBreaker(connections, pending, requests, retries)


class TransportChoice:
    """Which transport socket an endpoint gets: the first whose match labels it has all, else the cluster's own."""

    def __init__(
        self, wanted: config.Cluster, upstream_tls: Callable[[UpstreamTlsContext], TlsContext]
    ) -> None:
        def transport(name: str, socket: UpstreamTransportSocket) -> Transport:
            typed = socket.typed_config
            return Transport(name, upstream_tls(typed)) if isinstance(typed, UpstreamTlsContext) else RAW

        own = wanted.transport_socket
        self._default = RAW if own is None else transport(own.name, own)
        self._matches = [
            (one.match, transport(one.name, one.transport_socket)) for one in wanted.transport_socket_matches
        ]

    def for_metadata(self, metadata: Mapping[str, Any]) -> Transport:
        labels = metadata.get(_MATCH_METADATA, {})
        for match, transport in self._matches:
            if all(labels.get(key) == value for key, value in match.items()):
                return transport
        return self._default


class Transports(Protocol):
    """What gives endpoints their transports."""

    def for_metadata(self, metadata: Mapping[str, Any]) -> Transport:
        """The transport of an endpoint with this metadata."""


def hosts(
    assignment: ClusterLoadAssignment | None, transports: Transports, service: Service | None
) -> Iterator[Host]:
    """The hosts an assignment names."""
    if assignment is None:
        return
    for locality in assignment.endpoints:
        for endpoint in locality.lb_endpoints:
            yield _host(locality, endpoint, transports, service)


def _host(
    locality: LocalityLbEndpoints,
    endpoint: LbEndpoint,
    transports: Transports,
    service: Service | None,
) -> Host:
    address = endpoint.endpoint.address.socket_address
    assert address is not None  # `Endpoint` refuses any other
    metadata = endpoint.metadata.filter_metadata if endpoint.metadata is not None else {}
    where = locality.locality
    workload = metadata.get("istio", {}).get("workload")
    return Host(
        (address.address, address.port_value),
        transports.for_metadata(metadata),
        weight=endpoint.load_balancing_weight,
        health=_HEALTH[endpoint.health_status],
        metadata=metadata,
        locality=(where.region, where.zone, where.sub_zone),
        locality_weight=locality.load_balancing_weight or 0,
        priority=locality.priority,
        upstream=Upstream(service, workload_of_endpoint(workload) if workload else None),
    )
