"""ROUND_ROBIN: each host in turn; with differing weights, turns in proportion.

Starts at a random host, so that a fleet of sidecars does not begin on the same one.
Reference: Envoy source/extensions/load_balancing_policies/round_robin.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.upstream.lb.edf import EdfSchedule
from proxy.upstream.lb.interface import Candidate, Draw, weighted


class RoundRobin:
    __slots__ = ("_hosts", "_next", "_schedule", "_seeded")

    def __init__(self) -> None:
        self._hosts: Sequence[Candidate] = ()
        self._next = 0
        self._schedule: EdfSchedule | None = None
        self._seeded = False

    def update(self, hosts: Sequence[Candidate]) -> None:
        self._hosts = hosts
        self._schedule = EdfSchedule(hosts, lambda host: host.weight) if weighted(hosts) else None

    def pick(self, draw: Draw) -> Candidate:
        if not self._seeded:
            self._seeded = True
            self._next = int(draw() * len(self._hosts))
            if self._schedule is not None:
                for _ in range(self._next):
                    self._schedule.next()
        if self._schedule is not None:
            return self._schedule.next()
        host = self._hosts[self._next % len(self._hosts)]
        self._next += 1
        return host
