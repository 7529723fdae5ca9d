"""Hosts and host sets in few words, and numbers to draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any

from proxy.upstream.host import Host
from proxy.upstream.host_set import HostSet, host_sets
from proxy.upstream.transport import RAW

LETTERS = {"H": "HEALTHY", "U": "UNHEALTHY", "D": "DEGRADED"}


def members(healths: str, start: int = 0, **more: Any) -> list[Host]:
    """One host per letter of `healths`: H, U or D; named by number."""
    return [
        Host((f"10.0.0.{start + at}", 80), RAW, health=LETTERS[letter], **more)  # type: ignore[arg-type]
        for at, letter in enumerate(healths)
    ]


def sets(*priorities: str, overprovisioning: int = 140) -> tuple[HostSet, ...]:
    hosts = [
        host
        for priority, healths in enumerate(priorities)
        for host in members(healths, 10 * priority, priority=priority)
    ]
    return host_sets(hosts, overprovisioning)


def number(host: Host | None) -> int | None:
    """The last part of its address."""
    return None if host is None else int(host.address[0].rpartition(".")[2])


def draws(*values: float) -> Callable[[], float]:
    """Those values, over and over."""
    numbers: Iterator[float] = (values[i % len(values)] for i in count())
    return lambda: next(numbers)


def numbers(hosts: Iterable[Host | None]) -> list[int | None]:
    return [number(host) for host in hosts]
