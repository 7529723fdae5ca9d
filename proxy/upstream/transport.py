"""How bytes to a host are wrapped: plain, or TLS with a context that may rotate.

A value; the handshake happens where the sockets are.
"""

from __future__ import annotations

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
