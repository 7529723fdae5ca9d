"""HTTP filters: one tagged message each; `HttpFilter.typed_config` is the explicit list of what exists.

Reference: envoy/extensions/filters/http/*/v3; Istio's own: istio.io/api envoy/config/filter/http, proxy/extensions.
"""

from __future__ import annotations

from typing import Any

from proxy.config.access_log import SubstitutionFormat
from proxy.config.per_filter import HTTPFault, LocalRateLimit
from proxy.config.values import Message

T = "type.googleapis.com/"
_HTTP = T + "envoy.extensions.filters.http."


class Router(Message, tag_field="@type", tag=_HTTP + "router.v3.Router"):
    pass


class FilterStateValue(Message):
    object_key: str
    format_string: SubstitutionFormat
    shared_with_upstream: str = "NONE"


class SetFilterState(Message, tag_field="@type", tag=_HTTP + "set_filter_state.v3.Config"):
    """Vanilla Envoy's way to choose the upstream ALPN: object key `envoy.network.application_protocols`."""

    on_request_headers: list[FilterStateValue] = []


class GrpcStats(Message, tag_field="@type", tag=_HTTP + "grpc_stats.v3.FilterConfig"):
    pass


class Cors(Message, tag_field="@type", tag=_HTTP + "cors.v3.Cors"):
    """Says nothing itself: policies are the routes'."""


class AlpnOverride(Message):
    upstream_protocol: str = "HTTP10"
    alpn_override: list[str] = []


class IstioAlpn(
    Message, tag_field="@type", tag=T + "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig"
):
    alpn_override: list[AlpnOverride] = []


class PeerMetadata(Message, tag_field="@type", tag=T + "io.istio.http.peer_metadata.Config"):
    """Istio's metadata exchange: methods by direction, each `{"istio_headers": {}}` or `{"workload_discovery": {}}`."""

    downstream_discovery: list[dict[str, Any]] = []
    upstream_discovery: list[dict[str, Any]] = []
    downstream_propagation: list[dict[str, Any]] = []
    upstream_propagation: list[dict[str, Any]] = []
    shared_with_upstream: bool = False


class TypedStruct(Message, tag_field="@type", tag=T + "udpa.type.v1.TypedStruct"):
    """A message carried without its descriptor: `stats.PluginConfig` is Istio's metrics filter."""

    type_url: str
    value: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if self.type_url != T + "stats.PluginConfig":
            raise ValueError(f"type_url {self.type_url!r} is not implemented")


class HttpFilter(Message):
    name: str
    typed_config: (
        Router
        | SetFilterState
        | GrpcStats
        | HTTPFault
        | Cors
        | LocalRateLimit
        | IstioAlpn
        | PeerMetadata
        | TypedStruct
    )
    disabled: bool = False
