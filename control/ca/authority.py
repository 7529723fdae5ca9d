"""The certificate authority: a root that is kept, and the certificates it signs.

Decides what a certificate says; the identity is the caller's argument, never the request's. The root is EC P-256, in a directory only
its owner may read, so a control plane that starts again is the same authority. A chain of intermediates in the same file is served as it
is. Reference: istio's security/pkg/pki/{ca,util}; SPIFFE X509-SVID.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLOCK_SKEW = timedelta(minutes=2)
ROOT_LIFETIME = timedelta(days=3650)
DEFAULT_TTL = timedelta(hours=24)
MAX_TTL = timedelta(days=90)
_PEM = serialization.Encoding.PEM


class BadRequest(ValueError):
    """A signing request that is refused; the text says why."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """PEM: a chain, leaf first, and its key."""

    chain: bytes
    key: bytes


def utc_now() -> datetime:
    return datetime.now(UTC)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_encipherment=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def make_root(trust_domain: str, now: datetime) -> KeyPair:
    """A new self-signed root."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + ROOT_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(_PEM), _key_pem(key))


def load_or_make_root(directory: Path, trust_domain: str, now: datetime) -> KeyPair:
    """The signing certificate kept in `directory` (`ca-cert.pem`, with its chain up to the root, and `ca-key.pem`)."""
    certificate, key = directory / "ca-cert.pem", directory / "ca-key.pem"
    if certificate.exists() and key.exists():
        return KeyPair(certificate.read_bytes(), key.read_bytes())
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = make_root(trust_domain, now)
    # The certificate is written last: with it missing, a half-written pair is made anew.
    for path, content in ((key, made.key), (certificate, made.chain)):
        write_private(path, content)
    return made


def write_private(path: Path, content: bytes) -> None:
    """Write a file only its owner may read, whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


class Authority:
    """Signs with one key pair. `issuer` first in its chain, the root last."""

    def __init__(
        self,
        pair: KeyPair,
        default_ttl: timedelta = DEFAULT_TTL,
        max_ttl: timedelta = MAX_TTL,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._chain = x509.load_pem_x509_certificates(pair.chain)
        key = serialization.load_pem_private_key(pair.key, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise BadRequest("the CA key is not an elliptic curve key")
        self._key = key
        self._now = now
        self.default_ttl, self.max_ttl = default_ttl, max_ttl

    @property
    def root(self) -> bytes:
        """PEM."""
        return self._chain[-1].public_bytes(_PEM)

    def sign_workload(self, csr_pem: str, identity: str, seconds: int) -> list[str]:
        """A certificate for a SPIFFE ID: PEMs, leaf first, root last. 0 seconds is the default. Raises BadRequest."""
        try:
            csr = x509.load_pem_x509_csr(csr_pem.encode())
            valid = csr.is_signature_valid
        except (ValueError, TypeError, InvalidSignature) as error:
            raise BadRequest(f"CSR cannot be parsed: {error}") from error
        if not valid:
            raise BadRequest("CSR signature is invalid")
        public_key = csr.public_key()
        if not isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise BadRequest("CSR key type is not supported")
        most = int(self.max_ttl.total_seconds())
        if seconds > most:
            raise BadRequest(f"requested TTL {seconds}s is greater than the max allowed TTL {most}s")
        ttl = timedelta(seconds=seconds) if seconds > 0 else self.default_ttl
        leaf = self._sign(public_key, [x509.UniformResourceIdentifier(identity)], ttl, x509.Name([]))
        return [leaf.public_bytes(_PEM).decode(), *(c.public_bytes(_PEM).decode() for c in self._chain)]

    def serve(self, names: Sequence[str], ttl: timedelta = ROOT_LIFETIME) -> KeyPair:
        """A new key and server certificate for host names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        leaf = self._sign(key.public_key(), [_general_name(name) for name in names], ttl, subject)
        chain = b"".join(c.public_bytes(_PEM) for c in (leaf, *self._chain))
        return KeyPair(chain, _key_pem(key))

    def _sign(
        self,
        public_key: CertificatePublicKeyTypes,
        names: Sequence[x509.GeneralName],
        ttl: timedelta,
        subject: x509.Name,
    ) -> x509.Certificate:
        issuer, now = self._chain[0], self._now()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(min(now + ttl, issuer.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            # With an empty subject the name is here alone, so it must be understood.
            .add_extension(x509.SubjectAlternativeName(names), critical=not list(subject))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
