"""`kubectl apply` as a user runs it: a process for each change, timed from its start."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from bench.scale.mesh import Change, Object
from bench.scale.plane import Refused

MISSING = "kubectl is not installed: changes are timed from the API's answer to a write alone"


@dataclass(frozen=True)
class Applied:
    """When a `kubectl apply` was started and had ended, monotonic seconds."""

    started: float
    ended: float


class Kubectl:
    """Applies objects with a kubectl of this machine; what it caches lies in `home`."""

    def __init__(self, binary: str, kubeconfig: Path, home: Path) -> None:
        self._argv = [binary, "--kubeconfig", str(kubeconfig), "apply", "-f"]
        self._home = home

    @classmethod
    def find(cls, kubeconfig: Path, home: Path) -> Kubectl | None:
        """None: the machine has none."""
        binary = shutil.which("kubectl")
        return None if binary is None else cls(binary, kubeconfig, home)

    async def apply(self, obj: Object) -> Applied:
        """Raises Refused with what kubectl said."""
        manifest = self._home / "manifest.json"
        manifest.write_text(json.dumps(obj))
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            str(manifest),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "HOME": str(self._home)},
        )
        said, failed = await process.communicate()
        ended = time.monotonic()
        if process.returncode:
            raise Refused(f"kubectl apply: {(said + failed).decode(errors='replace')}")
        return Applied(started, ended)


def is_applied(change: Change) -> bool:
    """Whether a user makes this change by `kubectl apply`: what a node tells of its pods is written to their status."""
    return "STATUS" not in change.make(0)[0]
