"""A network namespace of a test's own, for rules and sockets; gone with its holder process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType


class Namespace:
    """Network and mount namespaces with a private /run; commands are run inside with nsenter."""

    def __init__(self) -> None:
        command = [
            "unshare",
            "--net",
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs t /run && echo up && exec sleep infinity",
        ]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "up\n"

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    @property
    def pid(self) -> int:
        return self._holder.pid

    def enter(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", *command]

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(self.enter(command), capture_output=True, text=True, check=False, timeout=30)
        if check:
            assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def ip(self, *lines: str) -> None:
        done = subprocess.run(
            self.enter(["ip", "-batch", "-"]),
            input="\n".join(lines) + "\n",
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def python(self, script: Path, *arguments: str) -> str:
        return self.run(sys.executable, str(script), *arguments)
