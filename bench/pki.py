"""A throwaway authority for measured and compared meshes: one EC P-256 root, workload certificates as Istio's.

A certificate has no subject and one critical URI SAN, the SPIFFE ID; client and server usage; an hour to live.
Reference: SPIFFE X.509-SVID 4; Istio `security/pkg/pki/util/generate_cert.go`.
"""

from __future__ import annotations

import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
TRUST_DOMAIN = "cluster.local"
LIFETIME = datetime.timedelta(hours=1)
CLOCK_SKEW = datetime.timedelta(minutes=2)


def spiffe_id(namespace: str, service_account: str) -> str:
    return f"spiffe://{TRUST_DOMAIN}/ns/{namespace}/sa/{service_account}"


class Authority:
    """Makes the certificates of one run."""

    def __init__(self, organization: str = TRUST_DOMAIN) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
        builder = self._builder(name, name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self._certificate = builder.add_extension(_key_usage(sign_certificates=True), critical=True).sign(
            self._key, hashes.SHA256()
        )

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SKEW)
            .not_valid_after(now + LIFETIME)
        )

    @property
    def root_pem(self) -> str:
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, identity: str) -> tuple[str, str]:
        """Certificate chain and private key, both PEM, for a SPIFFE ID."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
        certificate = (
            self._builder(x509.Name([]), self._certificate.subject, key.public_key())
            .add_extension(san, critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(sign_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode() + self.root_pem, private.decode()

    def secrets(self, identity: str) -> list[dict[str, Any]]:
        """The xDS secrets `default` and `ROOTCA` of a workload, as its agent serves them."""
        chain, key = self.issue(identity)
        certificate = {"certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}
        return [
            {"@type": SECRET, "name": "default", "tls_certificate": certificate},
            {
                "@type": SECRET,
                "name": "ROOTCA",
                "validation_context": {"trusted_ca": {"inline_string": self.root_pem}},
            },
        ]


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not sign_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
