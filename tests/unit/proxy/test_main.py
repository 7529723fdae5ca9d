"""The start of the command line: what must be settled before OpenSSL is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from proxy import compiled

CIPHERS = """
import sys, proxy.__main__ as main
main.configure_openssl()
assert not {"_ssl", "_hashlib"} & set(sys.modules), "OpenSSL is loaded already"
import ssl
print(*(cipher["name"] for cipher in ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).get_ciphers()[:3]))
"""


def ciphers(**settings: str) -> str:
    """Those of TLS 1.3 in a new process, in order."""
    inherited = {name: value for name, value in os.environ.items() if name != "OPENSSL_CONF"}
    environment = {**inherited, "PYTHONPATH": str(compiled.ROOT), **settings}
    argv = [sys.executable, "-c", CIPHERS]
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=True).stdout


@pytest.mark.skipif(
    not Path("/etc/ssl/openssl.cnf").exists(), reason="this system's settings of OpenSSL are elsewhere"
)
def test_ciphers_come_in_envoys_order() -> None:
    assert ciphers() == "TLS_AES_128_GCM_SHA256 TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256\n"


def test_a_users_own_settings_stay(tmp_path: Path) -> None:
    own = tmp_path / "own.cnf"
    own.write_text(
        "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n"
        "[default]\nCiphersuites = TLS_CHACHA20_POLY1305_SHA256\n"
    )
    assert ciphers(OPENSSL_CONF=str(own)).startswith("TLS_CHACHA20_POLY1305_SHA256 ECDHE")
