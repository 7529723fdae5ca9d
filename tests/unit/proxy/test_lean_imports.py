"""What a process of the sidecar holds after its imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from proxy import compiled
from proxy.lean_imports import _Ssl

LEAN = """
import sys
from proxy.lean_imports import import_lean
import_lean("asyncio", "hashlib", "msgspec", *{more})
import {module}
assert not {{"ssl", "_hashlib", "typing_extensions"}} & sys.modules.keys()
libraries = {{line.rpartition("/")[2].partition(".")[0] for line in open("/proc/self/maps") if ".so" in line}}
assert "_rust" in libraries
assert not {{"libssl", "libcrypto"}} & libraries, libraries
"""
AFTERWARDS = """
import hashlib, ssl, typing_extensions
assert hashlib.sha256(b"").hexdigest().startswith("e3b0c442")
assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED
"""


def run(code: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(compiled.ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)


@pytest.mark.parametrize(
    ("module", "more"),
    [("proxy.server", ["uvloop"]), ("proxy.agent.envoy_agent", [])],
    ids=["sidecar", "agent"],
)
def test_no_process_has_two_openssls(module: str, more: list[str]) -> None:
    run(LEAN.format(module=module, more=more))


def test_who_asks_later_gets_what_was_left_out() -> None:
    run(LEAN.format(module="proxy.server", more=["uvloop"]) + AFTERWARDS)


EARLIER = """
import sys, {earlier}
before = dict(sys.modules)
from proxy.lean_imports import import_lean
import_lean("asyncio", "hashlib", "uvloop")
for name in ("ssl", "_hashlib", "typing_extensions"):
    assert sys.modules.get(name) is before.get(name), name
"""


@pytest.mark.parametrize("earlier", ["asyncio, ssl", "ssl", "_hashlib", "typing_extensions"])
def test_nothing_is_taken_from_who_has_it_already(earlier: str) -> None:
    run(EARLIER.format(earlier=earlier))


def test_a_python_that_leaves_digests_to_openssl_keeps_it() -> None:
    run(
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('_md5', '_sha1', '_sha2', '_sha256', '_sha512', '_sha3')))\n"
        "from proxy.lean_imports import import_lean\n"
        "import_lean('asyncio', 'hashlib')\n"
        "import hashlib\n"
        "assert hashlib.sha256(b'').hexdigest().startswith('e3b0c442')"
    )


def test_a_name_of_the_stand_in_is_one_thing() -> None:
    """It is asked for in each `isinstance` and `except`."""
    ssl = _Ssl("ssl")
    assert ssl.SSLSocket is ssl.SSLSocket
    assert ssl.SSL_ERROR_WANT_READ == -1
