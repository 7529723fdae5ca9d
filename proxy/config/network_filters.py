"""Network filters: the HTTP connection manager and the TCP proxy.

Reference: envoy/extensions/filters/network/{http_connection_manager,tcp_proxy}/v3.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from proxy.config.access_log import AccessLog
from proxy.config.hash_policy import TcpHashPolicy
from proxy.config.header_key_format import HeaderKeyFormat
from proxy.config.http_filters import HttpFilter, TypedStruct
from proxy.config.route import RouteConfiguration, UpgradeConfig
from proxy.config.values import (
    CidrRange,
    ConfigSource,
    Duration,
    HeaderText,
    Message,
    Percent,
    UInt32,
    require_one,
)

_NETWORK = "type.googleapis.com/envoy.extensions.filters.network."


class Rds(Message):
    config_source: ConfigSource
    route_config_name: str


class Http1Options(Message):
    enable_trailers: bool = False
    header_key_format: HeaderKeyFormat | None = None


class CommonHttpProtocolOptions(Message):
    """Idle timeout: 1 h when absent, 0 disables."""

    idle_timeout: Duration | None = None
    max_headers_count: UInt32 | None = None


class ClientCertDetails(Message):
    subject: bool = False
    cert: bool = False
    chain: bool = False
    dns: bool = False
    uri: bool = False


class Tracing(Message):
    """Kept for request ids; nothing is exported without a provider."""

    client_sampling: Percent | None = None
    random_sampling: Percent | None = None
    overall_sampling: Percent | None = None


class InternalAddressConfig(Message):
    """Whose requests are internal; the default is nobody's."""

    cidr_ranges: list[CidrRange] = []


class HttpConnectionManager(
    Message, tag_field="@type", tag=_NETWORK + "http_connection_manager.v3.HttpConnectionManager"
):
    stat_prefix: str
    codec_type: Literal["AUTO", "HTTP1"] = "AUTO"
    rds: Rds | None = None
    route_config: RouteConfiguration | None = None
    http_filters: list[HttpFilter] = []
    access_log: list[AccessLog] = []
    server_name: HeaderText = "envoy"
    server_header_transformation: Literal["OVERWRITE", "APPEND_IF_ABSENT", "PASS_THROUGH"] = "OVERWRITE"
    use_remote_address: bool = False
    xff_num_trusted_hops: UInt32 = 0
    skip_xff_append: bool = False
    append_x_forwarded_port: bool = False
    internal_address_config: InternalAddressConfig = msgspec.field(default_factory=InternalAddressConfig)
    forward_client_cert_details: Literal[
        "SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"
    ] = "SANITIZE"
    set_current_client_cert_details: ClientCertDetails = msgspec.field(default_factory=ClientCertDetails)
    normalize_path: bool = False
    merge_slashes: bool = False
    path_with_escaped_slashes_action: Literal[
        "KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"
    ] = "KEEP_UNCHANGED"
    upgrade_configs: list[UpgradeConfig] = []
    proxy_100_continue: bool = False
    generate_request_id: bool = True
    preserve_external_request_id: bool = False
    http_protocol_options: Http1Options = msgspec.field(default_factory=Http1Options)
    common_http_protocol_options: CommonHttpProtocolOptions = msgspec.field(
        default_factory=CommonHttpProtocolOptions
    )
    max_request_headers_kb: UInt32 = 60
    stream_idle_timeout: Duration = Duration(300.0)
    request_timeout: Duration = Duration(0.0)
    request_headers_timeout: Duration = Duration(0.0)
    delayed_close_timeout: Duration = Duration(1.0)
    tracing: Tracing | None = None

    def __post_init__(self) -> None:
        require_one(self, "rds", "route_config")


class TcpClusterWeight(Message):
    name: str
    weight: UInt32


class TcpWeightedCluster(Message):
    clusters: list[TcpClusterWeight]


class TcpProxy(Message, tag_field="@type", tag=_NETWORK + "tcp_proxy.v3.TcpProxy"):
    """Idle timeout: 1 h when absent, 0 disables. Duration: none when absent."""

    stat_prefix: str
    cluster: str | None = None
    weighted_clusters: TcpWeightedCluster | None = None
    idle_timeout: Duration | None = None
    max_downstream_connection_duration: Duration | None = None
    access_log: list[AccessLog] = []
    hash_policy: Annotated[list[TcpHashPolicy], msgspec.Meta(max_length=1)] = []

    def __post_init__(self) -> None:
        require_one(self, "cluster", "weighted_clusters")


class NetworkFilter(Message):
    name: str
    typed_config: HttpConnectionManager | TcpProxy | TypedStruct
