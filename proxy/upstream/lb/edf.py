"""Earliest deadline first: visits members in turn, each in proportion to its weight, smoothly interleaved.

A member of weight w comes due again 1/w after its turn. Reference: Envoy source/common/upstream/edf_scheduler.h.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class EdfSchedule(Generic[T]):
    """`weight` is read again at each turn, so it may depend on a host's load or age; it is above 0. At least one member."""

    __slots__ = ("_heap", "_order", "_weight")

    def __init__(self, members: Sequence[T], weight: Callable[[T], float]) -> None:
        self._weight = weight
        # The order breaks ties first come, first served, and keeps the heap from comparing members.
        self._heap = [(1.0 / weight(member), order, member) for order, member in enumerate(members)]
        self._order = len(members)
        heapq.heapify(self._heap)

    def next(self) -> T:
        """The member whose turn it is."""
        due, _, member = self._heap[0]
        heapq.heapreplace(self._heap, (due + 1.0 / self._weight(member), self._order, member))
        self._order += 1
        return member

    def skip(self, turns: int) -> None:
        """Start somewhere else, so that a fleet of proxies does not begin on the same member."""
        for _ in range(turns):
            self.next()
