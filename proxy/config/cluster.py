"""Clusters. Reference: envoy/config/cluster/v3, envoy/extensions/upstreams/http/v3."""

from __future__ import annotations

from proxy.config.endpoint import ClusterLoadAssignment
from proxy.config.header_key_format import HeaderKeyFormat
from proxy.config.load_balancing import (
    CommonLbConfig,
    LeastRequestLbConfig,
    MaglevLbConfig,
    RingHashLbConfig,
    RoundRobinLbConfig,
)
from proxy.config.outlier_detection import HttpOutlierDetection, OutlierDetection
from proxy.config.secret import TransportSocketMatch, UpstreamTransportSocket
from proxy.config.values import ConfigSource, Duration, Message, Metadata, Percent, SocketAddress, UInt32

_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

TYPES = ("STATIC", "STRICT_DNS", "EDS", "ORIGINAL_DST")
LB_POLICIES = ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "RING_HASH", "MAGLEV", "CLUSTER_PROVIDED")
_LB_CONFIGS = ("round_robin_lb_config", "least_request_lb_config", "ring_hash_lb_config", "maglev_lb_config")


class EdsClusterConfig(Message):
    eds_config: ConfigSource
    service_name: str = ""


class RetryBudget(Message):
    """Retries as a share of the requests under way; takes the place of `max_retries`."""

    budget_percent: Percent | None = None
    min_retry_concurrency: UInt32 | None = None


class Thresholds(Message):
    """Defaults are Envoy's; `retries` 3."""

    priority: str = "DEFAULT"
    max_connections: UInt32 = 1024
    max_pending_requests: UInt32 = 1024
    max_requests: UInt32 = 1024
    max_retries: UInt32 = 3
    retry_budget: RetryBudget | None = None
    track_remaining: bool = False


class CircuitBreakers(Message):
    thresholds: list[Thresholds] = []


class TcpKeepalive(Message):
    keepalive_probes: UInt32 | None = None
    keepalive_time: UInt32 | None = None  # s
    keepalive_interval: UInt32 | None = None  # s


class UpstreamConnectionOptions(Message):
    tcp_keepalive: TcpKeepalive | None = None


class BindConfig(Message):
    source_address: SocketAddress


class HttpOptions(Message):
    """`http_protocol_options` of a cluster, HTTP/1.1."""

    header_key_format: HeaderKeyFormat | None = None
    enable_trailers: bool = False


class CommonHttpOptions(Message):
    idle_timeout: Duration | None = None
    max_requests_per_connection: UInt32 | None = None
    max_connection_duration: Duration | None = None


class UpstreamHttpOptions(Message):
    """Names of a TLS connection taken from the request's host."""

    auto_sni: bool = False
    auto_san_validation: bool = False


class ExplicitHttpConfig(Message):
    http_protocol_options: HttpOptions


class UseDownstreamProtocol(Message):
    http_protocol_options: HttpOptions | None = None


class HttpProtocolOptions(Message, tag_field="@type", tag="type.googleapis.com/" + _HTTP):
    explicit_http_config: ExplicitHttpConfig | None = None
    use_downstream_protocol_config: UseDownstreamProtocol | None = None
    common_http_protocol_options: CommonHttpOptions | None = None
    upstream_http_protocol_options: UpstreamHttpOptions | None = None
    outlier_detection: HttpOutlierDetection | None = None


class ProtocolOptions(Message, rename={"http": _HTTP}):
    http: HttpProtocolOptions | None = None


class Cluster(Message):
    name: str
    type: str = "STATIC"
    lb_policy: str = "ROUND_ROBIN"
    alt_stat_name: str = ""
    eds_cluster_config: EdsClusterConfig | None = None
    load_assignment: ClusterLoadAssignment | None = None
    connect_timeout: Duration = Duration(5.0)
    circuit_breakers: CircuitBreakers | None = None
    outlier_detection: OutlierDetection | None = None
    common_lb_config: CommonLbConfig | None = None
    round_robin_lb_config: RoundRobinLbConfig | None = None
    least_request_lb_config: LeastRequestLbConfig | None = None
    ring_hash_lb_config: RingHashLbConfig | None = None
    maglev_lb_config: MaglevLbConfig | None = None
    transport_socket: UpstreamTransportSocket | None = None
    transport_socket_matches: list[TransportSocketMatch] = []
    upstream_bind_config: BindConfig | None = None
    upstream_connection_options: UpstreamConnectionOptions | None = None
    typed_extension_protocol_options: ProtocolOptions | None = None
    cleanup_interval: Duration | None = None
    dns_refresh_rate: Duration | None = None
    dns_lookup_family: str = "AUTO"
    metadata: Metadata | None = None

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"cluster type {self.type!r} is not implemented")
        if self.lb_policy not in LB_POLICIES:
            raise ValueError(f"lb_policy {self.lb_policy!r} is not implemented")
        if sum(getattr(self, name) is not None for name in _LB_CONFIGS) > 1:
            raise ValueError(f"want at most one of {', '.join(_LB_CONFIGS)}")
        if (self.type == "ORIGINAL_DST") != (self.lb_policy == "CLUSTER_PROVIDED"):
            raise ValueError(f"lb_policy {self.lb_policy!r} does not go with type {self.type!r}")
