"""LEAST_REQUEST: of a few hosts drawn at random, the one with the fewest active requests.

With differing weights Envoy changes the method: turns in proportion to weight / (active + 1).
Reference: Envoy source/extensions/load_balancing_policies/least_request (active_request_bias 1).
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.upstream.lb.edf import EdfSchedule
from proxy.upstream.lb.interface import Candidate, Draw, weighted


class LeastRequest:
    """`choice_count` hosts are drawn with replacement; of equals the first drawn wins."""

    __slots__ = ("_choices", "_hosts", "_schedule")

    def __init__(self, choice_count: int = 2) -> None:
        self._choices = max(2, choice_count)
        self._hosts: Sequence[Candidate] = ()
        self._schedule: EdfSchedule | None = None

    def update(self, hosts: Sequence[Candidate]) -> None:
        self._hosts = hosts
        self._schedule = (
            EdfSchedule(hosts, lambda host: host.weight / (host.rq_active + 1)) if weighted(hosts) else None
        )

    def pick(self, draw: Draw) -> Candidate:
        if self._schedule is not None:
            return self._schedule.next()
        hosts = self._hosts
        count = len(hosts)
        if count == 1:
            return hosts[0]
        best = hosts[int(draw() * count)]
        for _ in range(self._choices - 1):
            other = hosts[int(draw() * count)]
            if other.rq_active < best.rq_active:
                best = other
        return best
