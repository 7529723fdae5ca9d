"""A CA for tests: signs SPIFFE leaves, and CSRs for an identity, as the mesh's own does."""

from __future__ import annotations

import datetime
import os
import ssl
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM


class MeshCa:
    def __init__(self, parent: MeshCa | None = None) -> None:
        """Its own root, or signed by another."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        organization = "cluster.local" if parent is None else "intermediate"
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organization)])
        signer = parent or self
        builder = signer._builder(self._name, self._key.public_key(), 3600).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        self._certificate = builder.add_extension(usage, critical=True).sign(signer._key, hashes.SHA256())
        self.root_pem = self._certificate.public_bytes(PEM).decode()

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, seconds: float
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=2))
            .not_valid_after(now + datetime.timedelta(seconds=seconds))
        )

    def issue(
        self,
        *uris: str,
        dns: tuple[str, ...] = (),
        ips: tuple[str, ...] = (),
        subject: x509.Name | None = None,
        seconds: float = 3600,
    ) -> tuple[str, str]:
        """Certificate and private key of a leaf, PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self._leaf(key.public_key(), uris, dns, ips, subject, seconds), private.decode()

    def sign(self, csr_pem: str, identity: str, seconds: float) -> str:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        key = csr.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert csr.is_signature_valid
        return self._leaf(key, (identity,), (), (), None, seconds)

    def _leaf(
        self,
        key: ec.EllipticCurvePublicKey,
        uris: tuple[str, ...],
        dns: tuple[str, ...],
        ips: tuple[str, ...],
        subject: x509.Name | None,
        seconds: float,
    ) -> str:
        names = [
            *(x509.UniformResourceIdentifier(u) for u in uris),
            *(x509.DNSName(d) for d in dns),
            *(x509.IPAddress(ip_address(i)) for i in ips),
        ]
        builder = self._builder(subject or x509.Name([]), key, seconds)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        usages = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(PEM).decode()


def load_pair(context: ssl.SSLContext, chain_pem: str, private_key_pem: str) -> None:
    """Certificate and key held as text; Python's `ssl` only reads files, so the text goes through a memory descriptor."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, private_key_pem.encode() + b"\n" + chain_pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
