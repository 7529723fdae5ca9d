"""What was made from parts that have not changed since, kept from one context to the next.

An outcome is good as long as everything it was made from is the same; contexts hand unchanged parts on as they are, so comparing
mostly ends at identity. A key names all else that matters; it is made of names, so a change replaces what it outdates.
Invariant: `get` answers what `make` would.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from operator import is_
from typing import Any, TypeVar, cast

T = TypeVar("T")
_MOST = 200_000  # outcomes of one kind; beyond, what is gone from the mesh is swept out with all else


def same(one: Sequence[object], other: Sequence[object]) -> bool:
    """Whether both hold the very same objects in the same order."""
    return len(one) == len(other) and all(map(is_, one, other))


class Kept:
    """Outcomes by key."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._entries: dict[Hashable, tuple[tuple[object, ...], Any]] = {}

    def get(self, key: Hashable, sources: tuple[object, ...], make: Callable[[], T]) -> T:
        """`make()`, unless it was made from the same `sources` before."""
        entry = self._entries.get(key)
        if entry is None or entry[0] != sources:
            if len(self._entries) >= self._most:
                self._entries.clear()
            entry = self._entries[key] = (sources, make())
        return cast(T, entry[1])

    def __repr__(self) -> str:
        return f"<Kept {len(self._entries)}>"


class Outcomes:
    """The kinds of outcomes that outlive a context."""

    def __init__(self) -> None:
        self.parts = Kept()  # of a view: whole types, and what the proxies of the view share
        self.clusters = Kept()  # of a service
        self.hosts = Kept()  # virtual hosts
        self.inbound = Kept()  # what workloads serve
