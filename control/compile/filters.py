"""Listener filters, network filters and the HTTP filter chain, in Istio's order.

Istio's own extensions go to our sidecar only. For the ALPN override vanilla Envoy has a filter of its own that writes the same
value. Reference: istio's pilot/pkg/xds/filters/filters.go, networking/core/{listener,networkfilter}.go.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from control.compile import alpn
from control.compile.access_log import access_log
from control.compile.http_filter_config import CORS, CORS_TYPE, FAULT, FAULT_TYPE
from control.compile.path_normalization import path_normalization
from control.compile.protobuf import Message, extension, typed_struct
from control.compile.proxy_headers import ProxyHeaders
from control.mesh_config import MeshConfig
from control.trusted_callers import trusted_ranges

Role = Literal["inbound", "outbound", "gateway"]
_LISTENER = "envoy.extensions.filters.listener."
_STATS = "stats.PluginConfig"

ORIGINAL_DST = extension("envoy.filters.listener.original_dst", _LISTENER + "original_dst.v3.OriginalDst")
TLS_INSPECTOR = extension("envoy.filters.listener.tls_inspector", _LISTENER + "tls_inspector.v3.TlsInspector")
HTTP_INSPECTOR = extension(
    "envoy.filters.listener.http_inspector", _LISTENER + "http_inspector.v3.HttpInspector"
)
# Routes configure these two; they do nothing by themselves.
_FAULT = extension(FAULT, FAULT_TYPE)
_CORS = extension(CORS, CORS_TYPE)
_ROUTER = extension("envoy.filters.http.router", "envoy.extensions.filters.http.router.v3.Router")


def except_ports(listener_filter: Message, ports: Collection[int]) -> Message:
    """The filter, not run for connections to these original destination ports."""
    if not ports:
        return listener_filter
    rules = [{"destination_port_range": {"start": port, "end": port + 1}} for port in sorted(ports)]
    disabled = rules[0] if len(rules) == 1 else {"or_match": {"rules": rules}}
    return {**listener_filter, "filter_disabled": disabled}


def _alpn_override(vanilla: bool) -> Message:
    if vanilla:
        return extension(
            "istio.alpn",
            "envoy.extensions.filters.http.set_filter_state.v3.Config",
            on_request_headers=[
                {
                    "object_key": "envoy.network.application_protocols",
                    "format_string": {"text_format_source": {"inline_string": ",".join(alpn.CLIENT_HTTP11)}},
                    "shared_with_upstream": "ONCE",
                }
            ],
        )
    return extension(
        "istio.alpn",
        "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
        alpn_override=[
            {"upstream_protocol": "HTTP10", "alpn_override": alpn.CLIENT_HTTP10},
            {"upstream_protocol": "HTTP11", "alpn_override": alpn.CLIENT_HTTP11},
        ],
    )


def _metadata_exchange(role: Role) -> Message:
    headers: list[Message] = [{"istio_headers": {}}]
    name, side = "istio.metadata_exchange", "downstream" if role == "inbound" else "upstream"
    fields = {f"{side}_discovery": [*headers, {"workload_discovery": {}}], f"{side}_propagation": headers}
    return extension(name, "io.istio.http.peer_metadata.Config", **fields)


def http_filters(role: Role, vanilla: bool, rate_limit: Message | None) -> list[Message]:
    filters = [] if vanilla else [_metadata_exchange(role)]
    if role != "inbound":
        filters.append(_alpn_override(vanilla))
    filters += [_FAULT, _CORS]
    if rate_limit is not None:
        filters.append(rate_limit)
    if not vanilla:
        value = {"disable_host_header_fallback": True} if role == "inbound" else {}
        filters.append(typed_struct("istio.stats", _STATS, value))
    return [*filters, _ROUTER]


def http_connection_manager(
    mesh: MeshConfig,
    role: Role,
    vanilla: bool,
    stat_prefix: str,
    route: Message,
    headers: ProxyHeaders,
    rate_limit: Message | None = None,
) -> Message:
    """`route` is `{"rds": …}` or `{"route_config": …}`; `rate_limit` is the filter that limits, if anything is limited."""
    fields: Message = {
        "stat_prefix": stat_prefix,
        **route,
        "http_filters": http_filters(role, vanilla, rate_limit),
        "access_log": access_log(mesh),
        "use_remote_address": role == "gateway" or _takes_apps_address(mesh, role),
        **path_normalization(mesh),
        "stream_idle_timeout": "0s",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "proxy_100_continue": True,
    }
    if role != "outbound":
        fields["server_name"] = "istio-envoy"
        fields |= headers.client_cert_fields("APPEND_FORWARD" if role == "inbound" else "SANITIZE_SET")
    fields |= headers.manager_fields()
    if mesh.features.ENABLE_HCM_INTERNAL_NETWORKS and mesh.meshNetworks:
        ranges = [
            {"address_prefix": address, "prefix_len": length}
            for address, length in trusted_ranges(mesh.meshNetworks)
        ]
        fields["internal_address_config"] = {"cidr_ranges": ranges}
    return extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        **fields,
    )


def _takes_apps_address(mesh: MeshConfig, role: Role) -> bool:
    """Whether a client sidecar knows its caller by the connection's own address."""
    return role == "outbound" and mesh.features.PILOT_SIDECAR_USE_REMOTE_ADDRESS


def tcp_filters(mesh: MeshConfig, vanilla: bool, stat_prefix: str, **target: object) -> list[Message]:
    """The chain of opaque bytes; `target` is `cluster=NAME` or `weighted_clusters=…`, and other tcp_proxy fields."""
    proxy = extension(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix=stat_prefix,
        access_log=access_log(mesh),
        **target,
    )
    return [proxy] if vanilla else [typed_struct("istio.stats", _STATS, {}), proxy]
