"""Who is on the other side of a finished TLS handshake.

The chain was verified by OpenSSL during the handshake; here the leaf is read once and remembered, since a workload
connects many times with one certificate. On a resumed session the peer is known as well, but nothing was verified again: so what
is remembered says until when the chain was good, and who resumes must look. Knows no policy.
Reference: Envoy source/common/tls/connection_info_impl_base.cc.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from proxy.tls import certificate
from proxy.tls.engine import TlsEngine
from proxy.tls.openssl import TlsError

# Certificates live hours and peers are few; beyond this many, forgetting all costs one parse per peer.
_REMEMBERED = 1024
_identities: dict[bytes, PeerIdentity] = {}


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """The peer's certificate as XFCC, RBAC and metrics use it. `hash` is the SHA-256 of its DER, lower-case hex.

    `expires`: when the first certificate of its chain does, wall clock in s.
    """

    uri_sans: tuple[str, ...]
    dns_sans: tuple[str, ...]
    subject: str
    hash: str
    ip_sans: tuple[str, ...] = ()
    expires: float = 0.0

    @property
    def uri_san(self) -> str | None:
        """The first URI SAN: the workload's SPIFFE identity."""
        return self.uri_sans[0] if self.uri_sans else None


def peer_identity(engine: TlsEngine, now: float = 0.0) -> PeerIdentity | None:
    """The peer of a connection whose handshake is done; None if it sent no certificate. `now`: wall clock, s.

    Raises TlsError for a certificate that OpenSSL takes and we cannot read, its names above all.
    """
    der = engine.peer_certificate()
    if not der:
        return None
    found = _identities.get(der)
    if found is None or (found.expires <= now and not engine.session_reused):
        try:
            found = _remember(der, engine.verified_chain())
        except certificate.CertificateError as error:
            raise TlsError("CERTIFICATE_VERIFY_FAILED", str(error)) from error
    return found


def resumption_refusal(engine: TlsEngine, peer: PeerIdentity | None, now: float) -> str | None:
    """None unless a session was resumed beyond the life of its peer's chain, which OpenSSL does not look at again.

    Envoy: `SSL_CTX_set_reverify_on_resume`.
    """
    if engine.session_reused and peer is not None and now >= peer.expires:
        return "verify cert failed: X509_verify_cert: certificate verification error at depth 0: certificate has expired"
    return None


def _remember(der: bytes, chain: Iterable[bytes]) -> PeerIdentity:
    leaf = certificate.read(der)
    expires = min([leaf.not_after, *(certificate.read(one).not_after for one in chain)])
    digest = hashlib.sha256(der).hexdigest()
    identity = PeerIdentity(leaf.uri_sans, leaf.dns_sans, leaf.subject, digest, leaf.ip_sans, expires)
    if len(_identities) >= _REMEMBERED:
        _identities.clear()
    _identities[der] = identity
    return identity
