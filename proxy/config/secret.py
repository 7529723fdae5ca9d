"""Secrets and TLS contexts.

Reference: envoy/extensions/transport_sockets/tls/v3/{common,secret,tls}.proto; Envoy source/common/tls/context_impl.cc
(parseAlpnProtocols), RFC 7301 §3.1.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from proxy.config.values import (
    ConfigSource,
    DataSource,
    Message,
    StringMatcher,
    require_one,
)

T = "type.googleapis.com/"
_TLS = T + "envoy.extensions.transport_sockets.tls.v3."


TlsVersion = Literal["TLS_AUTO", "TLSv1_0", "TLSv1_1", "TLSv1_2", "TLSv1_3"]


class TlsParameters(Message):
    tls_minimum_protocol_version: TlsVersion = "TLS_AUTO"
    tls_maximum_protocol_version: TlsVersion = "TLS_AUTO"
    cipher_suites: list[str] = []


class TlsCertificate(Message):
    certificate_chain: DataSource
    private_key: DataSource


class SubjectAltNameMatcher(Message):
    san_type: Literal["DNS", "URI", "IP_ADDRESS"]
    matcher: StringMatcher


class CertificateValidationContext(Message):
    trusted_ca: DataSource | None = None
    match_typed_subject_alt_names: list[SubjectAltNameMatcher] = []


class SdsSecretConfig(Message):
    name: str
    sds_config: ConfigSource | None = None


class CombinedCertificateValidationContext(Message):
    default_validation_context: CertificateValidationContext
    validation_context_sds_secret_config: SdsSecretConfig


_MOST_ALPN = 65_535  # bytes of all names with a comma between each; of one name a byte says how long it is


class CommonTlsContext(Message):
    tls_params: TlsParameters = msgspec.field(default_factory=TlsParameters)
    alpn_protocols: list[str] = []
    tls_certificates: list[TlsCertificate] = []
    tls_certificate_sds_secret_configs: list[SdsSecretConfig] = []
    validation_context: CertificateValidationContext | None = None
    validation_context_sds_secret_config: SdsSecretConfig | None = None
    combined_validation_context: CombinedCertificateValidationContext | None = None

    def __post_init__(self) -> None:
        names = self.alpn()
        size = len(",".join(names).encode())
        if size >= _MOST_ALPN or any(len(name.encode()) > 255 for name in names):
            raise ValueError(
                "Invalid ALPN protocol string: alpn_protocols are too long, at most 255 bytes each"
            )

    def alpn(self) -> list[str]:
        """The names, of which as in Envoy several may stand in one, with commas."""
        joined = ",".join(self.alpn_protocols)
        return joined.split(",") if joined else []


class DownstreamTlsContext(Message, tag_field="@type", tag=_TLS + "DownstreamTlsContext"):
    common_tls_context: CommonTlsContext
    require_client_certificate: bool = False
    disable_stateless_session_resumption: bool = False


class UpstreamTlsContext(Message, tag_field="@type", tag=_TLS + "UpstreamTlsContext"):
    common_tls_context: CommonTlsContext
    sni: str = ""
    max_session_keys: int | None = None

    def __post_init__(self) -> None:
        if "" in self.common_tls_context.alpn():  # which no client may offer: Envoy aborts here
            raise ValueError("Invalid ALPN protocol string: a name in alpn_protocols is empty")


class RawBuffer(
    Message, tag_field="@type", tag=T + "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
):
    pass


class UpstreamTransportSocket(Message):
    name: str
    typed_config: UpstreamTlsContext | RawBuffer


class DownstreamTransportSocket(Message):
    name: str
    typed_config: DownstreamTlsContext | RawBuffer


class TransportSocketMatch(Message):
    """Used for an endpoint whose `envoy.transport_socket_match` metadata has all pairs of `match`."""

    name: str
    transport_socket: UpstreamTransportSocket
    match: dict[str, Any] = {}


class Secret(Message):
    name: str
    tls_certificate: TlsCertificate | None = None
    validation_context: CertificateValidationContext | None = None

    def __post_init__(self) -> None:
        require_one(self, "tls_certificate", "validation_context")
