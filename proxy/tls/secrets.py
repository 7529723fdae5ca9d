"""The secrets a sidecar holds, by SDS name: its own certificate and key (`default`), the trusted roots (`ROOTCA`).

A secret is checked before it replaces the one in use: a bad one raises `SecretError` and changes nothing.
Each accepted change empties `derived` (the SSL contexts built from secrets) and tells the subscribers; sessions that
already run keep what they have. Private keys stay in memory.
Reference: Envoy SDS, Istio security/pkg/nodeagent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from proxy.tls import certificate
from proxy.tls.certificate import Certificate, CertificateError
from proxy.tls.openssl import TlsError
from proxy.tls.ssl_context import SslContext

WORKLOAD = "default"
ROOT = "ROOTCA"


class SecretError(ValueError):
    """A secret that cannot be used; the text says which and why."""


@dataclass(frozen=True, slots=True)
class CertificateSecret:
    """A certificate chain (leaf first) with its private key, as PEM text."""

    name: str
    chain_pem: str
    private_key_pem: str
    certificates: tuple[Certificate, ...]
    version: str
    updated: float  # seconds since the epoch

    @property
    def leaf(self) -> Certificate:
        return self.certificates[0]

    def __repr__(self) -> str:
        return f"<CertificateSecret {self.name} {self.leaf.uri_sans} until {self.leaf.not_after:.0f}>"


@dataclass(frozen=True, slots=True)
class ValidationSecret:
    """Trusted roots, as PEM text."""

    name: str
    trusted_ca_pem: str
    certificates: tuple[Certificate, ...]
    version: str
    updated: float

    def __repr__(self) -> str:
        return f"<ValidationSecret {self.name} {len(self.certificates)} roots>"


class SecretStore:
    """Secrets by name. `derived` is a cache for whoever builds something from secrets; each change empties it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._secrets: dict[str, CertificateSecret | ValidationSecret] = {}
        self._subscribers: list[Callable[[str], None]] = []
        self.derived: dict[object, SslContext] = {}

    def set_certificate(self, name: str, chain_pem: str, private_key_pem: str, version: str = "") -> None:
        """Take a new certificate and key; a pair that does not fit together raises `SecretError`."""
        self.put(self.checked_certificate(name, chain_pem, private_key_pem, version))

    def checked_certificate(
        self, name: str, chain_pem: str, private_key_pem: str, version: str = ""
    ) -> CertificateSecret:
        """A certificate and key that can be `put`. Raises `SecretError`."""
        try:
            certificates = tuple(certificate.load_pem(chain_pem))
            SslContext(server=True).load_certificate(chain_pem, private_key_pem)
        except (CertificateError, TlsError) as error:
            raise SecretError(f"secret {name}: {error}") from error
        return CertificateSecret(name, chain_pem, private_key_pem, certificates, version, self._clock())

    def set_validation(self, name: str, trusted_ca_pem: str, version: str = "") -> None:
        """Take new trusted roots; a text without a usable certificate raises `SecretError`."""
        self.put(self.checked_validation(name, trusted_ca_pem, version))

    def checked_validation(self, name: str, trusted_ca_pem: str, version: str = "") -> ValidationSecret:
        """Trusted roots that can be `put`. Raises `SecretError`."""
        try:
            certificates = tuple(certificate.load_pem(trusted_ca_pem))
            SslContext(server=False).verify_peer(trusted_ca_pem, required=True)
        except (CertificateError, TlsError) as error:
            raise SecretError(f"secret {name}: {error}") from error
        return ValidationSecret(name, trusted_ca_pem, certificates, version, self._clock())

    def put(self, secret: CertificateSecret | ValidationSecret) -> None:
        """Make a checked secret the one in use."""
        self._secrets[secret.name] = secret
        self.derived.clear()
        for notify in list(self._subscribers):
            notify(secret.name)

    def subscribe(self, notify: Callable[[str], None]) -> None:
        """Call `notify(name)` after each accepted change."""
        self._subscribers.append(notify)

    def certificate(self, name: str = WORKLOAD) -> CertificateSecret | None:
        found = self._secrets.get(name)
        return found if isinstance(found, CertificateSecret) else None

    def validation(self, name: str = ROOT) -> ValidationSecret | None:
        found = self._secrets.get(name)
        return found if isinstance(found, ValidationSecret) else None

    @property
    def own_uri_san(self) -> str | None:
        """This workload's SPIFFE identity, once it has a certificate."""
        secret = self.certificate()
        return secret.leaf.uri_sans[0] if secret and secret.leaf.uri_sans else None

    def __contains__(self, name: str) -> bool:
        return name in self._secrets

    def all(self) -> list[CertificateSecret | ValidationSecret]:
        """Every secret, by name."""
        return [self._secrets[name] for name in sorted(self._secrets)]

    def __repr__(self) -> str:
        return f"<SecretStore {', '.join(sorted(self._secrets)) or 'empty'}>"
