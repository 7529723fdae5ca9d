"""What was made from parts that have not changed since, kept from one context to the next.

An outcome is good as long as everything it was made from is the very same object: contexts hand unchanged parts on, so identity is
all that has to be compared. What was not asked for under one context is forgotten with the next that asks for anything.
Invariant: `get` answers what `make` would.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from operator import is_
from typing import Any, TypeVar, cast

T = TypeVar("T")
_Entries = dict[Hashable, tuple[tuple[object, ...], Any]]


def same(one: Sequence[object], other: Sequence[object]) -> bool:
    """Whether both hold the very same objects in the same order."""
    return len(one) == len(other) and all(map(is_, one, other))


class Kept:
    """Outcomes by key. A key must name all that is not an object of `sources`."""

    def __init__(self) -> None:
        self._entries: _Entries = {}
        self._earlier: _Entries = {}
        self._user: object = None

    def get(self, user: object, key: Hashable, sources: tuple[object, ...], make: Callable[[], T]) -> T:
        """`make()`, unless it was made from the same `sources` before. `user` is the context that asks."""
        if user is not self._user:
            self._earlier, self._entries, self._user = self._entries, {}, user
        entry = self._entries.get(key) or self._earlier.get(key)
        if entry is None or not same(entry[0], sources):
            entry = (sources, make())
        self._entries[key] = entry
        return cast(T, entry[1])

    def __repr__(self) -> str:
        return f"<Kept {len(self._entries)}>"


class Outcomes:
    """The kinds of outcomes that outlive a context: whole parts of a view, and what the parts are made of."""

    def __init__(self) -> None:
        self.parts = Kept()
        self.clusters = Kept()
        self.hosts = Kept()
        self.inbound = Kept()
