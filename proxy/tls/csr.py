"""Makes an EC P-256 key and a certificate signing request; run as a process of its own.

`python -m proxy.tls.csr SPIFFE_ID` prints `{"private_key": PEM, "csr": PEM}` and ends. What this takes of the `cryptography` package
is 4 MB resident and needed for milliseconds twice a day, so the sidecar never imports it: `request` starts this
module as a child and reads its pipe. The key never touches a disk.
Reference: Istio security/pkg/pki/util/generate_csr.go (empty subject, one critical URI SAN).
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass


class CsrError(Exception):
    """The child could not make a key; the text is its last line."""


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A new private key (PKCS #8) and the request to sign its public half, both PEM text."""

    private_key_pem: str
    csr_pem: str


def generate(identity: str) -> SigningRequest:
    """Make a key and a CSR for a SPIFFE URI, in this process."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.add_extension(names, critical=True).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return SigningRequest(private.decode(), csr.public_bytes(pem).decode())


async def request(identity: str) -> SigningRequest:
    """Make a key and a CSR in a short-lived child process."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "proxy.tls.csr",
        identity,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await child.communicate()
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    if child.returncode:
        raise CsrError((err.decode("utf-8", "replace").strip().splitlines() or ["no key was made"])[-1])
    made = json.loads(out)
    return SigningRequest(made["private_key"], made["csr"])


def main() -> None:
    made = generate(sys.argv[1])
    json.dump({"private_key": made.private_key_pem, "csr": made.csr_pem}, sys.stdout)


if __name__ == "__main__":
    main()
