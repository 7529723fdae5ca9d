"""Starts container processes through the shim, and says why one could not be started.

The shim (node/shim.py) gets its description from a memory file; it says on a pipe what went wrong, and the pipe closes by itself when the
program starts. Knows nothing of pods and restarts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from node.processes import Child, Processes, Result

COMMAND = [sys.executable, "-I", "-S", str(Path(__file__).with_name("shim.py"))]

Document = Mapping[str, Any]


class StartError(Exception):
    """The program could not be started; the text says why."""


async def start(
    processes: Processes, document: Document, output: int, begun: Callable[[Child], None]
) -> Child:
    """Starts a container with its output going to a descriptor. Raises StartError, OSError.

    `begun` hears of the process at once, so that it can be ended even while it starts.
    """
    error_read, error_write = os.pipe()
    try:
        with _memory_file(document) as spec_fd, _null() as null:
            child = processes.spawn(COMMAND, {}, {0: null, 1: output, 2: output, 3: spec_fd, 4: error_write})
    finally:
        os.close(error_write)
    begun(child)
    try:
        error = await _read_to_end(error_read)
    finally:
        os.close(error_read)
    if error:
        await child.wait()
        raise StartError(f"failed to start {document['argv'][0]!r}: {error}")
    return child


async def execute(processes: Processes, document: Document, seconds: float) -> Result:
    """Runs a command in a running container to its end."""
    with _memory_file(document) as spec_fd, _null() as null:
        return await processes.run(COMMAND, env={}, seconds=seconds, fds={3: spec_fd, 4: null})


@contextlib.contextmanager
def _memory_file(document: Document) -> Iterator[int]:
    fd = os.memfd_create("container")
    try:
        os.write(fd, json.dumps(document).encode())
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _null() -> Iterator[int]:
    fd = os.open(os.devnull, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


async def _read_to_end(fd: int) -> str:
    """What a child writes until it closes its end, which it does by starting its program."""
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    collected = b""
    while True:
        readable = loop.create_future()
        loop.add_reader(fd, _set, readable)
        try:
            await readable
        finally:
            loop.remove_reader(fd)
        block = os.read(fd, 4096)
        if not block:
            return collected.decode(errors="replace")
        collected += block


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
