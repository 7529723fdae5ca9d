"""The loop is told only of what changes."""

from __future__ import annotations

from typing import Any

from proxy.net.readiness import Readiness


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
        "remove_writer 7",
        "add_reader other",
        "remove_reader 7",
    ]
