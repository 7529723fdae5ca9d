"""What a proxy was told of the headers it adds and how it spells them: `proxyHeaders` of its ProxyConfig.

A pod's annotation and the mesh's `defaultConfig` were merged when its sidecar was injected, and come with the node's metadata.
Reference: istio.io/api mesh/v1alpha1/proxy.proto ProxyConfig.ProxyHeaders; istio's pilot/pkg/networking/util/proxy_headers.go.
"""

from __future__ import annotations

from typing import Any, NamedTuple, get_args

from control.compile.protobuf import Message, T, extension
from control.mesh_config import ForwardedClientCert, MeshConfig
from control.push.proxy import Proxy

_CLIENT_CERT = frozenset(get_args(ForwardedClientCert)) - {"UNDEFINED"}
_DETAILS = ("subject", "dns", "uri")
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_PRESERVE_CASE: Message = {
    "header_key_format": {
        "stateful_formatter": extension(
            "preserve_case",
            "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
        )
    }
}


class ProxyHeaders(NamedTuple):
    """Hashable: proxies that agree on it may share what was compiled."""

    preserve_case: bool = False
    forwarded_host: bool = False
    forwarded_port: bool = False
    client_cert: str = ""
    client_cert_details: tuple[str, ...] = _DETAILS
    request_id: bool = True
    attempt_count: bool = True
    server: bool = True
    server_name: str = ""

    def manager_fields(self) -> Message:
        """What connection managers say because of it."""
        fields: Message = {}
        if self.preserve_case:
            fields["http_protocol_options"] = _PRESERVE_CASE
        if self.forwarded_port:
            fields["append_x_forwarded_port"] = True
        if not self.request_id:
            fields["generate_request_id"] = False
        if not self.server:
            fields["server_header_transformation"] = "PASS_THROUGH"
        elif self.server_name:
            fields["server_name"] = self.server_name
        return fields

    def client_cert_fields(self, mode: str) -> Message:
        """Those about the client's certificate, of managers that may meet one; `mode` is theirs where nothing else was said."""
        return {
            "forward_client_cert_details": self.client_cert or mode,
            "set_current_client_cert_details": dict.fromkeys(self.client_cert_details, True),
        }

    def cluster(self, message: Message) -> Message:
        """The cluster with what it must do for the headers."""
        if not self.preserve_case:
            return message
        extensions = message.get("typed_extension_protocol_options", {})
        options = extensions.get(_HTTP_OPTIONS, {"@type": T + _HTTP_OPTIONS})
        options = {**options, "explicit_http_config": {"http_protocol_options": _PRESERVE_CASE}}
        return {**message, "typed_extension_protocol_options": {**extensions, _HTTP_OPTIONS: options}}


def proxy_headers(mesh: MeshConfig, proxy: Proxy) -> ProxyHeaders:
    """Of one proxy. What its own metadata says in no known form counts as not said."""
    own = proxy.metadata.get("PROXY_CONFIG")
    found = own.get("proxyHeaders") if isinstance(own, dict) else None
    if found is None and mesh.defaultConfig.proxyHeaders is not None:
        found = mesh.defaultConfig.proxyHeaders.model_dump(exclude_none=True)
    if not isinstance(found, dict):
        return ProxyHeaders()
    server_name = _field(found, "server", "value")
    client_cert = found.get("forwardedClientCert")
    details = found.get("setCurrentClientCertDetails")
    return ProxyHeaders(
        preserve_case=_field(found, "preserveHttp1HeaderCase", "enabled") is True,
        forwarded_host=_field(found, "xForwardedHost", "enabled") is True,
        forwarded_port=_field(found, "xForwardedPort", "enabled") is True,
        client_cert=client_cert if isinstance(client_cert, str) and client_cert in _CLIENT_CERT else "",
        client_cert_details=_DETAILS
        if not isinstance(details, dict)
        else tuple(name for name in _DETAILS if details.get(name, True)),
        request_id=_field(found, "requestId", "disabled") is not True,
        attempt_count=_field(found, "attemptCount", "disabled") is not True,
        server=_field(found, "server", "disabled") is not True,
        server_name=server_name if isinstance(server_name, str) else "",
    )


def _field(headers: dict[str, Any], name: str, field: str) -> object:
    value = headers.get(name)
    return value.get(field) if isinstance(value, dict) else None
