"""Makes a connection manager's settings and filters from typed configuration: the one list of HTTP filters.

Adding a filter is one file in `proxy.http.filters` and one line in `HTTP_FILTERS`.
Reference: envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager; reference §3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

from proxy.config import http_filters as config
from proxy.config.access_log import AccessLog
from proxy.config.decode import ConfigError
from proxy.config.network_filters import HttpConnectionManager
from proxy.config.per_filter import HTTPFault
from proxy.config.per_filter import LocalRateLimit as LocalRateLimitConfig
from proxy.deadlines import Deadlines
from proxy.http.codec import Http1Codec
from proxy.http.filter_chain import FilterChain, HttpFilter
from proxy.http.filters.cors import CorsFilter
from proxy.http.filters.fault import Fault, FaultStats, fault_policy
from proxy.http.filters.istio_alpn import IstioAlpn
from proxy.http.filters.local_rate_limit import Limiter, LimitStats, LocalRateLimit
from proxy.http.filters.peer_metadata import PeerMetadata, PeerMetadataParts
from proxy.http.filters.set_filter_state import ALPN_OBJECT, SetFilterState
from proxy.http.hcm_stats import HcmStats
from proxy.http.path_normalization import EscapedSlashes, suspect
from proxy.http.rate_limiter import MakeBucket, own_bucket
from proxy.http.settings import ForwardClientCert, HcmSettings, RouteSource
from proxy.observability.stats import StatsStore
from proxy.observability.stream_info import StreamInfo

Logger = Callable[[StreamInfo], None]
DEFAULT_IDLE_TIMEOUT = 3600.0  # s, Envoy's HttpProtocolOptions.idle_timeout


@dataclass(frozen=True, slots=True)
class HcmParts:
    """What connection managers are built with. `istio_stats` gives the metrics logger for a reporter."""

    stats: StatsStore
    access_loggers: Callable[[Iterable[AccessLog]], list[Logger]]
    istio_stats: Callable[[str], Logger]
    peer_metadata: PeerMetadataParts
    draw: Callable[[], float]
    codec: Http1Codec
    deadlines: Deadlines
    local_address: bytes = b"127.0.0.1"
    make_bucket: MakeBucket = own_bucket


@dataclass(frozen=True, slots=True)
class _Context:
    parts: HcmParts
    inbound: bool
    stat_prefix: str


FilterFactory = Callable[[Any, _Context], HttpFilter | None]


def _set_filter_state(typed: config.SetFilterState, _: _Context) -> HttpFilter | None:
    for value in typed.on_request_headers:
        if value.object_key == ALPN_OBJECT and value.format_string.text:
            return SetFilterState(value.format_string.text)
    return None


def _istio_alpn(typed: config.IstioAlpn, _: _Context) -> HttpFilter:
    return IstioAlpn({one.upstream_protocol: tuple(one.alpn_override) for one in typed.alpn_override})


def _peer_metadata(typed: config.PeerMetadata, context: _Context) -> HttpFilter:
    return PeerMetadata(typed, context.parts.peer_metadata, inbound=context.inbound)


def _fault(typed: HTTPFault, context: _Context) -> HttpFilter:
    parts = context.parts
    stats = FaultStats(parts.stats, context.stat_prefix)
    return Fault(fault_policy(typed), stats, parts.deadlines, parts.draw)


def _cors(_: config.Cors, context: _Context) -> HttpFilter:
    return CorsFilter(context.parts.stats, context.stat_prefix, context.parts.draw)


def _local_rate_limit(typed: LocalRateLimitConfig, context: _Context) -> HttpFilter:
    parts = context.parts
    if typed.token_bucket is None:  # for routes alone
        LimitStats(parts.stats, typed.stat_prefix)
        return LocalRateLimit(None, parts.draw)
    return LocalRateLimit(Limiter(typed, parts.stats, parts.deadlines.now, parts.make_bucket), parts.draw)


def _nothing(_: object, __: _Context) -> None:
    """Configured by routes alone, or seen to elsewhere (the terminal router, metrics loggers)."""
    return


HTTP_FILTERS: dict[type, FilterFactory] = {
    config.PeerMetadata: _peer_metadata,
    config.GrpcStats: _nothing,
    config.IstioAlpn: _istio_alpn,
    config.SetFilterState: _set_filter_state,
    HTTPFault: _fault,
    config.Cors: _cors,
    LocalRateLimitConfig: _local_rate_limit,
    config.TypedStruct: _nothing,
    config.Router: _nothing,
}


def build(
    wanted: HttpConnectionManager, routes: RouteSource, parts: HcmParts, *, direction: str
) -> HcmSettings:
    """Settings for a filter chain of a listener with this traffic direction. Raises ConfigError."""
    inbound = direction == "INBOUND"
    context = _Context(parts, inbound, wanted.stat_prefix)
    enabled = [one for one in wanted.http_filters if not one.disabled]
    if not enabled or not isinstance(enabled[-1].typed_config, config.Router):
        raise ConfigError("the last of http_filters must be the router")
    filters = [_filter(one, context) for one in wanted.http_filters]
    loggers = parts.access_loggers(wanted.access_log)
    if any(isinstance(one.typed_config, config.TypedStruct) for one in enabled):
        loggers.append(parts.istio_stats("destination" if inbound else "source"))
    passes_server = wanted.server_header_transformation == "PASS_THROUGH"
    common, details = wanted.common_http_protocol_options, wanted.set_current_client_cert_details
    return HcmSettings(
        stat_prefix=wanted.stat_prefix,
        stats=HcmStats(parts.stats, wanted.stat_prefix),
        routes=routes,
        chain=FilterChain(one for one in filters if one is not None),
        draw=parts.draw,
        codec=parts.codec.preserving_case()
        if wanted.http_protocol_options.header_key_format is not None
        else parts.codec,
        suspect_path=suspect(
            normalize_path=wanted.normalize_path,
            merge_slashes=wanted.merge_slashes,
            escaped=_escaped_slashes(wanted.path_with_escaped_slashes_action),
        ),
        loggers=tuple(loggers),
        server_name=b"" if passes_server else wanted.server_name.encode(),
        overwrites_server=wanted.server_header_transformation == "OVERWRITE",
        normalize_path=wanted.normalize_path,
        merge_slashes=wanted.merge_slashes,
        escaped_slashes=_escaped_slashes(wanted.path_with_escaped_slashes_action),
        use_remote_address=wanted.use_remote_address,
        xff_trusted_hops=wanted.xff_num_trusted_hops,
        skip_xff_append=wanted.skip_xff_append,
        append_forwarded_port=wanted.append_x_forwarded_port,
        internal_networks=tuple(
            ip_network(f"{one.address_prefix}/{one.prefix_len}", strict=False)
            for one in wanted.internal_address_config.cidr_ranges
        ),
        local_address=parts.local_address,
        generate_request_id=wanted.generate_request_id,
        preserve_external_request_id=wanted.preserve_external_request_id,
        proxy_100_continue=wanted.proxy_100_continue,
        idle_timeout=DEFAULT_IDLE_TIMEOUT if common.idle_timeout is None else float(common.idle_timeout),
        stream_idle_timeout=float(wanted.stream_idle_timeout),
        times_streams=bool(wanted.stream_idle_timeout or wanted.request_timeout),
        request_timeout=float(wanted.request_timeout),
        request_headers_timeout=float(wanted.request_headers_timeout),
        delayed_close_timeout=float(wanted.delayed_close_timeout),
        max_headers_bytes=wanted.max_request_headers_kb * 1024,
        max_headers_count=common.max_headers_count or 100,
        enable_trailers=wanted.http_protocol_options.enable_trailers,
        upgrades=frozenset(
            one.upgrade_type.lower().encode() for one in wanted.upgrade_configs if one.enabled
        ),
        client_cert=ForwardClientCert(
            wanted.forward_client_cert_details, details.subject, details.uri, details.dns
        ),
        tracing_operation=None if wanted.tracing is None else ("INGRESS" if inbound else "EGRESS"),
    )


def _filter(wanted: config.HttpFilter, context: _Context) -> HttpFilter | None:
    try:
        made = HTTP_FILTERS[type(wanted.typed_config)](wanted.typed_config, context)
    except ValueError as error:
        raise ConfigError(f"http_filters {wanted.name}{error}") from None
    return made if made is None or not wanted.disabled or made.silence() else None


def _escaped_slashes(action: str) -> EscapedSlashes:
    if action == "IMPLEMENTATION_SPECIFIC_DEFAULT":
        return EscapedSlashes.KEEP_UNCHANGED
    try:
        return EscapedSlashes(action)
    except ValueError:
        raise ConfigError(f"path_with_escaped_slashes_action: {action} is not implemented") from None
