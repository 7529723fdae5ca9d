"""Container logs as files: `LOGS/NAMESPACE/POD/CONTAINER.log`, the run before as `CONTAINER.previous.log`.

A container writes to its file itself, so a log line costs the node nothing. A file that grows past its limit is copied aside and
emptied in place (it is open for append). Reference: kubectl logs, the kubelet's /containerLogs.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

ROTATE_BYTES = 10 * 2**20
CHUNK = 64 * 1024
POLL_SECONDS = 0.1


class LogFiles:
    """All logs of a mesh."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __repr__(self) -> str:
        return f"<LogFiles {self._root}>"

    def path(self, namespace: str, pod: str, container: str, previous: bool = False) -> Path:
        return self._root / namespace / pod / f"{container}{'.previous' if previous else ''}.log"

    def begin(self, namespace: str, pod: str, container: str) -> int:
        """A descriptor for a new run's output; the last run's log becomes the previous one."""
        path = self.path(namespace, pod, container)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.rename(self.path(namespace, pod, container, previous=True))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def rotate(self) -> None:
        """Copies files past their limit aside and empties them."""
        for path in self._root.glob("*/*/*.log"):
            if path.stat().st_size > ROTATE_BYTES and not path.name.endswith(".previous.log"):
                shutil.copyfile(path, path.with_suffix(".log.1"))
                os.truncate(path, 0)

    def remove_pod(self, namespace: str, pod: str) -> None:
        shutil.rmtree(self._root / namespace / pod, ignore_errors=True)


def tail_offset(path: Path, lines: int) -> int:
    """Where the last `lines` lines of a file begin, in bytes."""
    with path.open("rb") as file:
        size = position = file.seek(0, os.SEEK_END)
        if not lines:
            return size
        while position > 0:
            begin = max(0, position - CHUNK)
            file.seek(begin)
            block = file.read(position - begin)
            end = len(block) - (position == size)  # the newline that ends the last line begins no other
            while (found := block.rfind(b"\n", 0, end)) >= 0:
                lines, end = lines - 1, found
                if not lines:
                    return begin + found + 1
            position = begin
    return 0


async def read(path: Path, tail: int | None, follow: bool) -> AsyncIterator[bytes]:
    """The content from the last `tail` lines on; with `follow` also what comes, across restarts, until closed."""
    offset = 0 if tail is None else tail_offset(path, tail)
    while True:
        with path.open("rb") as file:
            file.seek(offset)
            opened = os.fstat(file.fileno()).st_ino
            while True:
                while block := file.read(CHUNK):
                    yield block
                if not follow or (now := _inode(path)) is None:
                    return
                if now != opened:
                    break  # the container was started again
                await asyncio.sleep(POLL_SECONDS)
                if file.tell() > os.fstat(file.fileno()).st_size:
                    file.seek(0)  # rotated
        offset = 0


def _inode(path: Path) -> int | None:
    """None when the file is gone, and its pod with it."""
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
