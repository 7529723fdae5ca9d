"""The TLS a client may speak to a server sidecar directly: as a mesh peer, as a stranger, without certificate."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from bench.pki import Authority, spiffe_id

MESH, MESH_TCP, STRANGER, NO_CERTIFICATE, USERS_OWN = (
    "mesh",
    "mesh-tcp",
    "stranger",
    "no-certificate",
    "users-own",
)
ALPN = {
    MESH: ["istio-http/1.1", "istio", "http/1.1"],
    MESH_TCP: ["istio-peer-exchange", "istio"],
    STRANGER: ["istio-http/1.1", "istio"],
    NO_CERTIFICATE: ["istio-http/1.1", "istio"],
    USERS_OWN: ["h2", "http/1.1"],
}


def contexts(directory: Path, secrets: list[dict[str, Any]]) -> dict[str, ssl.SSLContext]:
    """One context per kind; `secrets` are the mesh client's own."""
    mesh = directory / "mesh.pem"
    mesh.write_text(
        secrets[0]["tls_certificate"]["private_key"]["inline_string"]
        + secrets[0]["tls_certificate"]["certificate_chain"]["inline_string"]
    )
    stranger = directory / "stranger.pem"
    chain, key = Authority("another").issue(spiffe_id("default", "client"))
    stranger.write_text(key + chain)
    certificates = {MESH: mesh, MESH_TCP: mesh, STRANGER: stranger}
    found = {}
    for kind, alpn in ALPN.items():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(alpn)
        if kind in certificates:
            context.load_cert_chain(certificates[kind])
        found[kind] = context
    return found
