"""How bytes to a host are wrapped: plain, or TLS with a context that may rotate.

Values; the handshake happens where the sockets are.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.tls.contexts import TlsContext


class Transport:
    """A named transport socket of a cluster; `tls` is None for plaintext."""

    __slots__ = ("name", "tls")

    def __init__(self, name: str, tls: TlsContext | None) -> None:
        self.name = name
        self.tls = tls

    def __repr__(self) -> str:
        return f"<Transport {self.name} {'tls' if self.tls is not None else 'plain'}>"


RAW = Transport("raw_buffer", None)


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """What a request asks of its connection beyond the transport's own TLS; requests that differ in it never share one.

    `alpn` replaces the list offered and `server_name` the SNI (empty: none); the certificate must have `expected_name`, a
    DNS name or an IP address, besides what the transport expects. Reference: Envoy's TransportSocketOptions.
    """

    alpn: tuple[str, ...] | None = None
    server_name: str | None = None
    expected_name: str | None = None


NO_OPTIONS = TlsOptions()
