"""The loop is told only of what changes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from proxy.net.readiness import Readiness
from tests.unit.proxy.net.tls_pairs import pair


class Loop:
    def __init__(self) -> None:
        self.said: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda fd, *callback: self.said.append(f"{name} {callback[0].__name__ if callback else fd}")


def one() -> None: ...
def other() -> None: ...


def test_only_changes_are_said() -> None:
    loop = Loop()
    readiness = Readiness(loop, 7)  # type: ignore[arg-type]
    readiness.neither()
    readiness.readable(one)
    readiness.readable(one)
    readiness.writable(one)
    readiness.writable(one)
    readiness.readable(one)
    readiness.readable(other)
    readiness.neither()
    readiness.neither()
    assert loop.said == [
        "add_reader one",
        "add_writer one",
        "remove_reader 7",
        "add_reader one",
        "remove_writer 7",
        "add_reader other",
        "remove_reader 7",
    ]


async def test_what_waits_to_be_read_wakes_nobody_who_waits_to_write() -> None:
    """It is not read before what we say has gone, so it would be told in every turn of the loop."""
    left, right = pair()
    with suppress(BlockingIOError):
        while True:
            left.send(bytes(65536))
    right.send(b"more")
    woken: list[int] = []
    readiness = Readiness(asyncio.get_running_loop(), left.fileno())
    readiness.readable(lambda: woken.append(1))
    readiness.writable(lambda: woken.append(2))
    for _ in range(5):
        await asyncio.sleep(0)
    assert woken == []
    with suppress(BlockingIOError):
        while True:
            right.recv(65536)
    while not woken:
        await asyncio.sleep(0)
    assert woken[0] == 2
    readiness.neither()
    left.close()
    right.close()
