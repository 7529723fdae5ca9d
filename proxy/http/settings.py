"""An HTTP connection manager's settings as the data path uses them: resolved, typed, constant.

Values only; `proxy.http.hcm_builder` makes them from the typed configuration.
Reference: envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager; reference §3.4, §8.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from proxy.http.codec import Http1Codec, http1_codec
from proxy.http.filter_chain import FilterChain
from proxy.http.hcm_stats import HcmStats
from proxy.http.path_normalization import EscapedSlashes
from proxy.observability.stream_info import StreamInfo
from proxy.router.matcher import RouteTable
from proxy.router.route import Route

if TYPE_CHECKING:
    from proxy.config.route import RouteConfiguration


@dataclass(slots=True)
class RouteSource:
    """Where connection managers find the current table of one name; None until it arrives. RDS replaces it between requests."""

    table: RouteTable[Route] | None = None
    config: RouteConfiguration | None = None


@dataclass(frozen=True, slots=True)
class ForwardClientCert:
    """What becomes of `x-forwarded-client-cert`; `mode` is ForwardClientCertDetails' name."""

    mode: str = "SANITIZE"
    subject: bool = False
    uri: bool = False
    dns: bool = False


@dataclass(frozen=True, slots=True)
class HcmSettings:
    """Times in s, 0 meaning none. `upgrades` are lower-case upgrade types."""

    stat_prefix: str
    stats: HcmStats
    routes: RouteSource
    chain: FilterChain
    draw: Callable[[], float]
    codec: Http1Codec = field(default_factory=lambda: http1_codec("httptools"))
    suspect_path: re.Pattern[bytes] = re.compile(rb"#")
    """Found in a path that must be looked at closer."""
    loggers: tuple[Callable[[StreamInfo], None], ...] = ()
    server_name: bytes = b"envoy"  # empty: `server` is the upstream's affair
    overwrites_server: bool = True  # else `server` is only added where the upstream sent none
    normalize_path: bool = False
    merge_slashes: bool = False
    escaped_slashes: EscapedSlashes = EscapedSlashes.KEEP_UNCHANGED
    use_remote_address: bool = False
    xff_trusted_hops: int = 0
    skip_xff_append: bool = False
    append_forwarded_port: bool = False
    internal_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose requests may steer the router by header."""
    local_address: bytes = b"127.0.0.1"
    generate_request_id: bool = True
    preserve_external_request_id: bool = False
    proxy_100_continue: bool = False
    idle_timeout: float = 3600.0
    stream_idle_timeout: float = 300.0
    request_timeout: float = 0.0
    request_headers_timeout: float = 0.0
    delayed_close_timeout: float = 1.0
    max_headers_bytes: int = 60 * 1024
    max_headers_count: int = 100
    enable_trailers: bool = False
    upgrades: frozenset[bytes] = frozenset()
    client_cert: ForwardClientCert = field(default_factory=ForwardClientCert)
    tracing_operation: str | None = None  # "EGRESS" or "INGRESS" when tracing is configured
    times_streams: bool = False  # stream_idle_timeout or request_timeout is set
