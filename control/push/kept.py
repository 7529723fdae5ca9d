"""What was made from parts that have not changed since, kept from one context to the next.

An outcome is good as long as everything it was made from is the same; contexts hand unchanged parts on as they are, so comparing
mostly ends at identity. A key names all else that matters; it is made of names, so a change replaces what it outdates. What is gone
from the mesh is asked for no more, and goes: it may hold on to a whole mesh of the past.
Invariant: `get` answers what `make` would.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import islice
from typing import Any, TypeVar, cast

T = TypeVar("T")
_SPARE = 1000  # outcomes of one kind that may stay in any case


class Kept:
    """Outcomes by key, those asked for longest ago first. `lasting`: not every push asks for those that are still good."""

    def __init__(self, *, lasting: bool = True, spare: int = _SPARE) -> None:
        self._lasting, self._spare = lasting, spare
        self._entries: dict[Hashable, tuple[tuple[object, ...], Any, int]] = {}
        self._pushes = 0
        self._asked = self._most_asked = 0  # for how many since the last push, and at most between two

    def get(self, key: Hashable, sources: tuple[object, ...], make: Callable[[], T]) -> T:
        """`make()`, unless it was made from the same `sources` before."""
        entry = self._entries.pop(key, None)
        if entry is None or entry[2] != self._pushes:
            self._asked += 1
        outcome = make() if entry is None or entry[0] != sources else entry[1]
        self._entries[key] = (sources, outcome, self._pushes)
        return cast(T, outcome)

    def pushed(self) -> None:
        """A push has asked for all it needs: forget what nobody asked for, of those that last what is oldest and too much."""
        self._most_asked = max(self._most_asked, self._asked)
        room = 2 * self._most_asked + self._spare if self._lasting else self._asked
        for key in list(islice(self._entries, max(0, len(self._entries) - room))):
            del self._entries[key]
        self._asked = 0
        self._pushes += 1

    def __repr__(self) -> str:
        return f"<Kept {len(self._entries)}>"


class Outcomes:
    """The kinds of outcomes that outlive a context."""

    def __init__(self) -> None:
        self.parts = Kept(lasting=False)  # of a view: whole types, and what the proxies of the view share
        self.names = Kept()  # of a namespace: ports and hosts of services
        self.clusters = Kept()  # of a service
        self.hosts = Kept()  # virtual hosts, and tables of a service's own
        self.listeners = Kept()  # of a service port
        self.inbound = Kept()  # what workloads serve

    def pushed(self) -> None:
        """Every proxy was compiled."""
        for kept in (self.parts, self.names, self.clusters, self.hosts, self.listeners, self.inbound):
            kept.pushed()
