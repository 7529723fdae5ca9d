"""TLS that ends at a gateway: from a Secret beside the gateway, from files in it, or with the mesh's own certificate.

The credential travels inside the listener, because only the agent answers `secrets`; it goes to proxies of the Secret's own
namespace, over 15012. Reference: istio's pilot/pkg/networking/core/gateway.go (buildGatewayListenerTLSContext).
"""

from __future__ import annotations

from control.compile import alpn
from control.compile.protobuf import Message, extension
from control.compile.tls import mesh_server
from control.push.config import Credential
from control.push.context import PushContext
from control.resources.gateway import ServerTLSSettings

_VERSIONS = {"TLSV1_0": "TLSv1_0", "TLSV1_1": "TLSv1_1", "TLSV1_2": "TLSv1_2", "TLSV1_3": "TLSv1_3"}


def edge_server(context: PushContext, tls: ServerTLSSettings | None, namespace: str) -> Message | None:
    """The transport socket of a server; None when the Secret it names is not there."""
    if tls is None:
        return None
    if tls.mode == "ISTIO_MUTUAL":
        return mesh_server(context.mesh.trustDomain, alpn.SERVER_HTTP)
    credential = None
    if tls.credentialName:
        name = tls.credentialName.removeprefix("kubernetes://").rpartition("/")[2]
        credential = context.credentials.get((namespace, name))
        if credential is None or (tls.mode == "MUTUAL" and not credential.ca):
            return None
    common: Message = {
        "tls_params": {
            "tls_minimum_protocol_version": _VERSIONS.get(tls.minProtocolVersion or "", "TLSv1_2"),
            "tls_maximum_protocol_version": _VERSIONS.get(tls.maxProtocolVersion or "", "TLSv1_3"),
        },
        "alpn_protocols": alpn.SERVER_HTTP,
        "tls_certificates": [_certificate(tls, credential)],
    }
    if tls.mode == "MUTUAL":
        roots = {"inline_string": credential.ca} if credential else {"filename": tls.caCertificates}
        common["validation_context"] = {"trusted_ca": roots}
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context=common,
        require_client_certificate=tls.mode == "MUTUAL",
    )


def _certificate(tls: ServerTLSSettings, credential: Credential | None) -> Message:
    if credential is None:
        return {
            "certificate_chain": {"filename": tls.serverCertificate},
            "private_key": {"filename": tls.privateKey},
        }
    return {
        "certificate_chain": {"inline_string": credential.certificate},
        "private_key": {"inline_string": credential.key},
    }
