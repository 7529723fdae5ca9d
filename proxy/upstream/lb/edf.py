"""Earliest deadline first: visits hosts in turn, each in proportion to its weight, smoothly interleaved.

A host of weight w comes due again 1/w after its turn. Reference: Envoy source/common/upstream/edf_scheduler.h.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from proxy.upstream.lb.interface import Candidate

Weight = Callable[[Candidate], float]


class EdfSchedule:
    """`weight` is read again at each turn, so it may depend on the host's load."""

    __slots__ = ("_heap", "_order", "_weight")

    def __init__(self, hosts: Sequence[Candidate], weight: Weight) -> None:
        self._weight = weight
        # The order breaks ties first come, first served, and keeps the heap from comparing hosts.
        self._heap = [(1.0 / weight(host), order, host) for order, host in enumerate(hosts)]
        self._order = len(hosts)
        heapq.heapify(self._heap)

    def next(self) -> Candidate:
        """The host whose turn it is."""
        due, _, host = self._heap[0]
        heapq.heapreplace(self._heap, (due + 1.0 / self._weight(host), self._order, host))
        self._order += 1
        return host
