"""ROUND_ROBIN: each host in turn; with differing weights or young hosts, turns in proportion.

Starts at a random host, so that a fleet of sidecars does not begin on the same one.
Reference: Envoy source/extensions/load_balancing_policies/round_robin.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.upstream.host import Host
from proxy.upstream.lb.edf import EdfSchedule
from proxy.upstream.lb.interface import Draw, Policy, weighted
from proxy.upstream.lb.slow_start import SlowStart


class RoundRobin(Policy):
    """See `interface.Policy`."""

    __slots__ = ("_hosts", "_next", "_schedule", "_seeded", "_slow_start")

    def __init__(self, slow_start: SlowStart | None = None) -> None:
        self._hosts: tuple[Host, ...] = ()
        self._next = 0
        self._schedule: EdfSchedule[Host] | None = None
        self._seeded = False
        self._slow_start = slow_start

    def update(self, hosts: Sequence[Host]) -> None:
        self._hosts = tuple(hosts)
        slow = self._slow_start
        if slow is not None and slow.active:
            self._schedule = EdfSchedule(hosts, lambda host: host.weight * slow.factor(host))
        else:
            self._schedule = EdfSchedule(hosts, lambda host: host.weight) if weighted(hosts) else None

    def pick(self, draw: Draw) -> Host:
        if not self._seeded:
            self._seeded = True
            self._next = int(draw() * len(self._hosts))
            if self._schedule is not None:
                self._schedule.skip(self._next)
        if self._schedule is not None:
            return self._schedule.next()
        host = self._hosts[self._next % len(self._hosts)]
        self._next += 1
        return host
