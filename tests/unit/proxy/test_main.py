"""The start of the command line: what must be settled before OpenSSL is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from proxy import compiled

TICKETS = """
import sys, proxy.__main__ as main
main.configure_openssl()
assert "cryptography.hazmat.bindings._rust" not in sys.modules, "OpenSSL is loaded already"
from proxy.tls.engine import TlsEngine
from proxy.tls.ssl_context import SslContext
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.tls.engines import hand_over
server, client = SslContext(server=True), SslContext(server=False)
server.load_certificate(*MeshCa().issue("spiffe://a/ns/b/sa/c"))
a, b = TlsEngine(client), TlsEngine(server)
while not a.handshake():
    hand_over(a, b)
    b.handshake()
    hand_over(b, a)
hand_over(a, b)
assert b.handshake()
said = b.unsent()
records, at = 0, 0
while at < len(said):
    at += 5 + int.from_bytes(said[at + 3 : at + 5], "big")
    records += 1
print(records)
"""


def tickets(**settings: str) -> int:
    """How many a server gives after a handshake, in a new process."""
    inherited = {name: value for name, value in os.environ.items() if name != "OPENSSL_CONF"}
    environment = {**inherited, "PYTHONPATH": str(compiled.ROOT), **settings}
    argv = [sys.executable, "-c", TICKETS]
    return int(subprocess.run(argv, capture_output=True, text=True, env=environment, check=True).stdout)


def test_a_handshake_leaves_one_ticket() -> None:
    assert tickets() == 1


def test_the_systems_settings_may_be_elsewhere(tmp_path: Path) -> None:
    text = (compiled.ROOT / "proxy" / "tls" / "openssl.cnf").read_text()
    alone = tmp_path / "openssl.cnf"
    alone.write_text(text.replace("/etc/ssl/openssl.cnf", str(tmp_path / "missing.cnf")))
    assert tickets(OPENSSL_CONF=str(alone)) == 1


def test_a_users_own_settings_stay(tmp_path: Path) -> None:
    own = tmp_path / "own.cnf"
    own.write_text(
        "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n"
        "[default]\nNumTickets = 3\n"
    )
    assert tickets(OPENSSL_CONF=str(own)) == 3
