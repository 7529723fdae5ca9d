"""Transport sockets: mesh TLS out and in, and the TLS a DestinationRule asks for.

Reference: istio's pilot/pkg/security/authn/utils/utils.go (inbound), networking/core/cluster_tls.go (outbound).
"""

from __future__ import annotations

from collections.abc import Iterable

from control.compile.alpn import CLIENT
from control.compile.protobuf import CONFIG_SOURCE, Message, extension
from control.resources.traffic_policy import ClientTLSSettings

_TLS = "envoy.extensions.transport_sockets.tls.v3."
_SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"
_SERVER_CIPHERS = [
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
]

RAW_BUFFER = extension(
    "envoy.transport_sockets.raw_buffer", "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
)


def _versions() -> Message:
    return {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}


def _mesh_identity(san_matchers: list[Message]) -> Message:
    """The workload's own certificate, and what the peer's must be; both come from the agent by name."""
    validation: Message = {}
    if san_matchers:
        validation["match_typed_subject_alt_names"] = [
            {"san_type": "URI", "matcher": matcher} for matcher in san_matchers
        ]
    return {
        "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": CONFIG_SOURCE}],
        "combined_validation_context": {
            "default_validation_context": validation,
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": CONFIG_SOURCE},
        },
    }


def mesh_server(trust_domain: str, alpn: list[str]) -> Message:
    """Terminates mesh TLS: the client must show a certificate of the trust domain."""
    return extension(
        "envoy.transport_sockets.tls",
        _TLS + "DownstreamTlsContext",
        common_tls_context={
            "tls_params": {**_versions(), "cipher_suites": _SERVER_CIPHERS},
            "alpn_protocols": alpn,
            **_mesh_identity([{"prefix": f"spiffe://{trust_domain}/"}]),
        },
        require_client_certificate=True,
    )


def mesh_client(sni: str, identities: Iterable[str]) -> Message:
    """Mesh TLS towards a service whose workloads have one of these SPIFFE IDs."""
    return extension(
        "envoy.transport_sockets.tls",
        _TLS + "UpstreamTlsContext",
        common_tls_context={
            "tls_params": _versions(),
            "alpn_protocols": CLIENT,
            **_mesh_identity([{"exact": identity} for identity in identities]),
        },
        sni=sni,
    )


def auto_mtls_matches(sni: str, identities: list[str]) -> list[Message]:
    """One socket per kind of endpoint: those with a sidecar get mesh TLS, the others plaintext."""
    return [
        {
            "name": "tlsMode-istio",
            "match": {"tlsMode": "istio"},
            "transport_socket": mesh_client(sni, identities),
        },
        {"name": "tlsMode-disabled", "match": {}, "transport_socket": RAW_BUFFER},
    ]


def originate(settings: ClientTLSSettings) -> Message:
    """SIMPLE and MUTUAL: TLS of the service's own, with the host of the request as server name when none is given."""
    common: Message = {"tls_params": _versions()}
    if settings.mode == "MUTUAL":
        common["tls_certificates"] = [
            {
                "certificate_chain": {"filename": settings.clientCertificate},
                "private_key": {"filename": settings.privateKey},
            }
        ]
    if not settings.insecureSkipVerify:
        common["validation_context"] = _validation(settings)
    fields: Message = {"sni": settings.sni} if settings.sni else {}
    return extension(
        "envoy.transport_sockets.tls", _TLS + "UpstreamTlsContext", common_tls_context=common, **fields
    )


def automatic_names(settings: ClientTLSSettings) -> Message:
    """SIMPLE and MUTUAL without a server name: that of the request's host, which the certificate must then have.

    These are `upstream_http_protocol_options`; a connection without HTTP has no host to take.
    """
    if settings.mode not in ("SIMPLE", "MUTUAL") or settings.sni:
        return {}
    fields = {"auto_sni": True}
    if not settings.subjectAltNames and not settings.insecureSkipVerify:
        fields["auto_san_validation"] = True
    return fields


def _validation(settings: ClientTLSSettings) -> Message:
    roots = settings.caCertificates
    filename = _SYSTEM_ROOTS if roots in (None, "", "system") else roots
    validation: Message = {"trusted_ca": {"filename": filename}}
    if settings.subjectAltNames:
        validation["match_typed_subject_alt_names"] = [
            {"san_type": kind, "matcher": {"exact": name}}
            for name in settings.subjectAltNames
            for kind in ("DNS", "URI")
        ]
    return validation
