"""From all hosts of a cluster to the one of a key: its priority, then the priority's table.

Decides when tables are made: a small one at once when a request first needs it, a large one in pieces beside the requests, which
an earlier table serves meanwhile, as Envoy's workers go on with theirs until the main thread is done. Where there was none a first
request waits for a table of usual size; of a giant one, keys have some host until it is there.
Invariants: only hosts of the last update are picked; no request waits longer than PATIENCE pieces.
Reference: Envoy source/extensions/load_balancing_policies/common/thread_aware_lb_impl.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.upstream.host import Host
from proxy.upstream.host_set import HostSet
from proxy.upstream.lb.balancer import KEYS, NO_LOAD, Balancer, LocalityRule
from proxy.upstream.lb.interface import Draw, HashTable, Later, Making, Shares
from proxy.upstream.lb.priority_load import priority_load
from proxy.upstream.lb.retry_priority import PreviousPriorities

AT_ONCE = 6
"""Pieces a request makes of a table that replaces another: enough for a ring of Envoy's default size."""
PATIENCE = 256
"""Pieces a request makes of a table that is the first: some 0.5 s, twice Envoy's default Maglev table."""
_PLACES = 16
"""How many places of an earlier table are tried for a host that is still there."""


class HashBalancer(Balancer):
    """`make_table` makes the table of a priority from its hosts and their shares."""

    def __init__(
        self, make_table: Callable[[Shares], Making], draw: Draw, rule: LocalityRule, later: Later
    ) -> None:
        self.direct = None
        self.hashes = True
        self._make_table = make_table
        self.draw = draw
        self._rule = rule
        self._later = later
        self._due = False  # `_go_on` will be called
        self._sets: Sequence[HostSet] = ()
        self._load = NO_LOAD
        self._tables: dict[int, HashTable | None] = {}
        self._earlier: dict[int, HashTable] = {}
        self._making: dict[int, Making] = {}
        self._hosts: dict[int, list[Host]] = {}  # of tables that are being made
        self._waited: set[int] = set()  # a request has lost its patience with that table

    def update(self, sets: Sequence[HostSet]) -> None:
        self._sets = sets
        self._load = priority_load(sets, self._rule.panic_threshold)
        for priority, table in self._tables.items():
            if table is not None:
                self._earlier[priority] = table
        self._tables.clear()
        self._making.clear()
        self._waited.clear()
        self._schedule()

    def pick(self, key: int | None, attempt: int, attempted: PreviousPriorities | None) -> Host | None:
        """A request without a key gets a random one. The retry priority plays no part, as in Envoy."""
        if not self._sets:
            return None
        if key is None:
            key = int(self.draw() * KEYS)
        priority, _ = self._load.choose(key)
        if self._load.panic[priority]:
            self._rule.panics.value += 1
        if priority not in self._tables and not self._make(priority, self._worth_waiting(priority)):
            return self._meanwhile(priority, key, attempt)
        table = self._tables[priority]
        return None if table is None else table.pick(key, attempt)

    # Tables in the making.

    def _schedule(self) -> None:
        if not self._due:
            self._due = True
            self._later(self._go_on)

    def _go_on(self) -> None:
        """Another piece of a table that requests will need."""
        self._due = False
        for priority, percent in enumerate(self._load.healthy[: len(self._sets)]):
            if percent and not self._make(priority, 1):
                self._schedule()
                return

    def _make(self, priority: int, pieces: int) -> bool:
        """So many pieces more; whether the table is there."""
        if priority in self._tables:
            return True
        making = self._making.get(priority)
        if making is None:
            shares = self._shares(priority)
            if not shares:
                self._tables[priority] = None
                return True
            self._hosts[priority] = [host for host, _ in shares]
            making = self._making[priority] = self._make_table(shares)
        try:
            for _ in range(pieces):
                next(making)
        except StopIteration as end:
            self._tables[priority] = end.value
            del self._making[priority], self._hosts[priority]
            self._earlier.pop(priority, None)
            return True
        return False

    def _worth_waiting(self, priority: int) -> int:
        if priority in self._waited:
            return 0
        self._waited.add(priority)
        return AT_ONCE if priority in self._earlier else PATIENCE

    def _meanwhile(self, priority: int, key: int, attempt: int) -> Host:
        hosts, earlier = self._hosts[priority], self._earlier.get(priority)
        if earlier is not None:
            for more in range(_PLACES):
                host = earlier.pick(key, attempt + more)
                if host in hosts:
                    return host
        return hosts[(key + attempt) % len(hosts)]

    def _shares(self, priority: int) -> Shares:
        one, panic = self._sets[priority], self._load.panic[priority]
        if not self._rule.weighted:
            return _normalised(one.hosts if panic else one.healthy, 1.0)
        total = sum(locality.weight for locality in one.localities)
        return [
            share
            for locality in one.localities
            if locality.weight
            for share in _normalised(locality.hosts if panic else locality.healthy, locality.weight / total)
        ]


def _normalised(hosts: Sequence[Host], share: float) -> list[tuple[Host, float]]:
    total = sum(host.weight for host in hosts)
    return [(host, host.weight * share / total) for host in hosts]
