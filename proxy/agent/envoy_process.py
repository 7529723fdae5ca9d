"""A real Envoy as a child process: finding the binary, its command line, its end.

Reference: Istio pkg/envoy/proxy.go; reference §18.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.agent.environment import SettingsError


def find(environment: Mapping[str, str]) -> Path:
    """The binary: `$ENVOY`, else on PATH, else beside this Python."""
    named = environment.get("ENVOY")
    if named:
        if not os.access(named, os.X_OK):
            raise SettingsError(f"ENVOY: {named} is not an executable")
        return Path(named)
    found = shutil.which("envoy") or shutil.which("envoy", path=str(Path(sys.executable).parent))
    if found is None:
        raise SettingsError(
            "no envoy binary: set ENVOY, or put one on PATH (in a checkout `make setup` installs one)"
        )
    return Path(found)


def arguments(bootstrap: Path, drain_seconds: float, concurrency: int | None) -> list[str]:
    """Istio's command line of Envoy."""
    return [
        "-c", str(bootstrap),
        "--drain-time-s", str(round(drain_seconds)),
        "--drain-strategy", "immediate",
        "--local-address-ip-version", "v4",
        "--file-flush-interval-msec", "1000",
        "--disable-hot-restart",
        "--allow-unknown-static-fields",
        "-l", "warning",
        "--component-log-level", "misc:error",
        *(("--concurrency", str(concurrency)) if concurrency else ()),
    ]  # fmt: skip


_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_prctl = ctypes.CDLL(
    None
).prctl  # found here: between fork and exec nothing may wait for a lock that nobody holds any more


def _end_with_agent() -> None:
    """Runs in the child: an agent that is killed leaves no Envoy behind, which would go on asking it for configuration."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class EnvoyProcess:
    """The child. `wait` gives its exit status, as a shell counts it: 128 + N for signal N."""

    def __init__(self, binary: Path, bootstrap: dict[str, Any], directory: Path) -> None:
        self._binary = binary
        self._file = directory / "envoy-rev.json"
        self._file.write_text(json.dumps(bootstrap, indent=1))
        self._child: asyncio.subprocess.Process | None = None

    async def start(self, drain_seconds: float, concurrency: int | None) -> None:
        self._child = await asyncio.create_subprocess_exec(
            str(self._binary), *arguments(self._file, drain_seconds, concurrency), preexec_fn=_end_with_agent
        )

    async def wait(self) -> int:
        assert self._child is not None
        status = await self._child.wait()
        return 128 - status if status < 0 else status

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL if that does not do."""
        if self._child is None or self._child.returncode is not None:
            return
        self._child.terminate()
        try:
            async with asyncio.timeout(2):
                await self._child.wait()
        except TimeoutError:
            self._child.kill()
            await self._child.wait()
