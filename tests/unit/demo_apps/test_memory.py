"""Six apps run in one demo, so each stays small."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BUDGET = 25 * 1024  # KiB resident


@pytest.mark.parametrize("app", ["productpage", "details", "reviews", "ratings", "echo", "tcp_echo"])
def test_an_idle_app_is_small(app: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", f"demo_apps.{app}", "0"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "."},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"listening")
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.terminate()
        assert process.wait(10) == 0
    resident = re.search(r"VmRSS:\s+(\d+)", status)
    assert resident is not None
    assert int(resident[1]) < BUDGET
