"""What a process of the sidecar holds after its imports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from proxy import compiled

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


def test_nothing_is_taken_from_a_process_that_has_asyncio() -> None:
    run(
        "import asyncio, ssl\nfrom proxy.lean_imports import import_lean\nimport_lean('uvloop')\nimport sys\nassert sys.modules['ssl'] is ssl"
    )
