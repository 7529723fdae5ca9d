"""Who is on the other side of a finished TLS handshake.

The chain was verified by OpenSSL during the handshake; here the leaf is read once and remembered, since a workload
connects many times with one certificate. Knows no policy.
Reference: Envoy source/common/tls/connection_info_impl_base.cc.
"""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass

from proxy.tls import certificate

# Certificates live hours and peers are few; beyond this many, forgetting all costs one parse per peer.
_REMEMBERED = 1024
_identities: dict[bytes, PeerIdentity] = {}


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """The peer's certificate as XFCC, RBAC and metrics use it. `hash` is the SHA-256 of its DER, lower-case hex."""

    uri_sans: tuple[str, ...]
    dns_sans: tuple[str, ...]
    subject: str
    hash: str
    ip_sans: tuple[str, ...] = ()

    @property
    def uri_san(self) -> str | None:
        """The first URI SAN: the workload's SPIFFE identity."""
        return self.uri_sans[0] if self.uri_sans else None


def peer_identity(connection: ssl.SSLSocket | ssl.SSLObject) -> PeerIdentity | None:
    """The peer of a connection whose handshake is done; None if it sent no certificate."""
    der = connection.getpeercert(binary_form=True)
    if not der:
        return None
    return _identities.get(der) or _remember(der)


def _remember(der: bytes) -> PeerIdentity:
    leaf = certificate.read(der)
    identity = PeerIdentity(
        leaf.uri_sans, leaf.dns_sans, leaf.subject, hashlib.sha256(der).hexdigest(), leaf.ip_sans
    )
    if len(_identities) >= _REMEMBERED:
        _identities.clear()
    _identities[der] = identity
    return identity
