"""Key and CSR from a child process."""

from __future__ import annotations

import sys

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from proxy.tls import csr

ID = "spiffe://cluster.local/ns/default/sa/reviews"


async def test_a_child_makes_key_and_request() -> None:
    made = await csr.request(ID)
    request = x509.load_pem_x509_csr(made.csr_pem.encode())
    key = serialization.load_pem_private_key(made.private_key_pem.encode(), None)
    public = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding.DER
    assert request.is_signature_valid
    assert request.public_key().public_bytes(public[1], public[0]) == key.public_key().public_bytes(
        public[1], public[0]
    )
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [ID]
    assert len(request.subject) == 0


def test_the_sidecar_itself_imports_openssl_alone() -> None:
    """The rest of `cryptography` is 4 MB more: the reason for the child."""
    import subprocess

    code = "import sys, proxy.tls.csr, proxy.xds.ca_client, proxy.tls.contexts; sys.exit('cryptography.x509' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
