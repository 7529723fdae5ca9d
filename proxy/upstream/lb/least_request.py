"""LEAST_REQUEST: of a few hosts drawn at random, the one with the fewest active requests.

With differing weights or young hosts Envoy changes the method: turns in proportion to weight / (active + 1) ^ bias.
Reference: Envoy source/extensions/load_balancing_policies/least_request.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.upstream.host import Host
from proxy.upstream.lb.edf import EdfSchedule
from proxy.upstream.lb.interface import Draw, Policy, weighted
from proxy.upstream.lb.slow_start import SlowStart


class LeastRequest(Policy):
    """`choice_count` hosts are drawn with replacement; of equals the first drawn wins. `bias` is active_request_bias."""

    __slots__ = ("_bias", "_choices", "_hosts", "_schedule", "_seeded", "_slow_start")

    def __init__(self, choice_count: int = 2, bias: float = 1.0, slow_start: SlowStart | None = None) -> None:
        self._choices = max(2, choice_count)
        self._bias = bias
        self._slow_start = slow_start
        self._hosts: tuple[Host, ...] = ()
        self._schedule: EdfSchedule[Host] | None = None
        self._seeded = False

    def update(self, hosts: Sequence[Host]) -> None:
        self._hosts = tuple(hosts)
        slow = self._slow_start
        if slow is not None and slow.active:
            self._schedule = EdfSchedule(hosts, lambda host: self._weight(host) * slow.factor(host))
        else:
            self._schedule = EdfSchedule(hosts, self._weight) if weighted(hosts) else None

    def _weight(self, host: Host) -> float:
        weight: float = host.weight / (host.rq_active + 1) ** self._bias
        return weight

    def pick(self, draw: Draw) -> Host:
        if self._schedule is not None:
            return self._turn(self._schedule, draw)
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

    def _turn(self, schedule: EdfSchedule[Host], draw: Draw) -> Host:
        if not self._seeded:
            self._seeded = True
            schedule.skip(int(draw() * len(self._hosts)))
        return schedule.next()
