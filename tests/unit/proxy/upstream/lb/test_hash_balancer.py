"""Hash tables in the making: what requests get meanwhile, and how much of the work is theirs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.observability.stats import Counter
from proxy.upstream.host import Host
from proxy.upstream.host_set import host_sets
from proxy.upstream.lb.balancer import LocalityRule
from proxy.upstream.lb.hash_balancer import AT_ONCE, PATIENCE, HashBalancer
from proxy.upstream.lb.hashing import xxhash64
from proxy.upstream.lb.interface import Making, Shares, made
from proxy.upstream.lb.maglev import maglev
from proxy.upstream.lb.ring_hash import ring_hash
from tests.unit.proxy.upstream.lb.members import members

KEYS = [xxhash64(b"%d" % at) for at in range(500)]


class Bench:
    """A balancer whose tables take `pieces`, or as many as they take; it counts them, and `later` is called by hand."""

    def __init__(self, make: Callable[[Shares], Making], pieces: int = 0) -> None:
        self.make, self.pieces = make, pieces
        self.worked = 0
        self.due: list[Callable[[], None]] = []
        rule = LocalityRule(Counter("panics"), panic_threshold=0)
        self.balancer = HashBalancer(self._counted, lambda: 0.5, rule, self.due.append)

    def _counted(self, shares: Shares) -> Making:
        for _ in range(self.pieces):
            self.worked += 1
            yield
        making = self.make(shares)
        while True:
            try:
                next(making)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.worked += 1
            yield

    def update(self, hosts: list[Host]) -> None:
        self.balancer.update(host_sets(hosts))

    def picks(self) -> list[Host | None]:
        return [self.balancer.pick(key, 0, None) for key in KEYS]

    def turn(self) -> None:
        self.due.pop(0)()

    def rest(self) -> None:
        while self.due:
            self.turn()


def ring(shares: Shares) -> Making:
    return ring_hash(shares, 1024, 2**23, xxhash64)


def expected(hosts: list[Host], make: Callable[[Shares], Making] = ring) -> list[object]:
    table = made(make([(host, 1 / len(hosts)) for host in hosts]))
    return [table.pick(key, 0) for key in KEYS]


def test_a_table_of_usual_size_is_there_with_the_first_request() -> None:
    for make in (ring, lambda shares: maglev(shares, 65537)):
        bench, hosts = Bench(make), members("HHHH")
        bench.update(hosts)
        assert bench.picks() == expected(hosts, make)


def test_a_small_table_is_replaced_at_once() -> None:
    bench, hosts = Bench(ring), members("HHHH")
    for known in (hosts[:3], hosts, hosts[1:]):
        bench.update(known)
        assert bench.picks() == expected(known)


def test_an_earlier_table_answers_while_a_large_one_is_made() -> None:
    bench, hosts = Bench(ring, pieces=20), members("HHHH")
    bench.update(hosts[:3])
    assert bench.picks() == expected(hosts[:3])
    bench.rest()
    bench.worked = 0
    bench.update(hosts)
    assert bench.picks() == expected(hosts[:3])
    assert bench.worked == AT_ONCE
    bench.turn()
    assert bench.worked == AT_ONCE + 1
    bench.rest()
    bench.worked = 0
    assert bench.picks() == expected(hosts)
    assert not bench.worked


def test_hosts_that_went_are_not_picked_from_an_earlier_table() -> None:
    bench, hosts = Bench(ring, pieces=20), members("HHHH")
    bench.update(hosts)
    before = bench.picks()
    bench.update(hosts[1:])
    meanwhile = bench.picks()
    assert hosts[0] not in meanwhile
    kept = [(old, new) for old, new in zip(before, meanwhile, strict=True) if old is not hosts[0]]
    assert all(old is new for old, new in kept)
    bench.update([hosts[0]])
    assert set(bench.picks()) == {hosts[0]}
    bench.update([])
    assert set(bench.picks()) == {None}


def test_a_giant_table_makes_no_request_wait_for_ever() -> None:
    bench, hosts = Bench(ring, pieces=1000), members("HHHH")
    bench.update(hosts)
    first = bench.picks()
    assert bench.worked == PATIENCE
    assert set(first) == set(hosts)
    assert bench.picks() == first
    bench.rest()
    assert bench.picks() == expected(hosts)


def test_what_changes_meanwhile_begins_anew() -> None:
    bench, hosts = Bench(ring, pieces=20), members("HHHH")
    bench.update(hosts[:2])
    bench.turn()
    bench.update(hosts)
    assert len(bench.due) == 1
    bench.rest()
    assert bench.picks() == expected(hosts)


def test_what_nobody_asks_for_is_made_beside_requests() -> None:
    bench, hosts = Bench(ring), members("HHHH")
    bench.update(hosts)
    bench.rest()
    bench.worked = 0
    assert bench.picks() == expected(hosts)
    assert not bench.worked


@pytest.mark.parametrize("weights", [[1], [1, 1], [1, 100], [3, 5, 7]])
def test_pieces_are_small(weights: list[int]) -> None:
    """Counted in hashes for rings, and for Maglev by their number: it looks at some 700,000 places."""
    asked = 0

    def counted(data: bytes, seed: int = 0) -> int:
        nonlocal asked
        asked += 1
        return xxhash64(data, seed)

    hosts = members("H" * len(weights))
    shares = [(host, weight / sum(weights)) for host, weight in zip(hosts, weights, strict=True)]
    most = 0
    for _ in ring_hash(shares, 20_000, 2**23, counted):
        most, asked = max(most, asked), 0
    assert most == 512
    assert sum(1 for _ in maglev(shares, 65537)) >= 40


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sets(st.integers(0, 5)), st.integers(0, 12), st.booleans()), max_size=8),
    st.sampled_from([0, 3, 30]),
)
def test_only_hosts_of_the_last_update_are_picked(
    changes: list[tuple[set[int], int, bool]], pieces: int
) -> None:
    bench, hosts = Bench(ring, pieces), members("HHHHHH")
    for known, turns, asks in changes:
        bench.update([hosts[at] for at in sorted(known)])
        for _ in range(turns):
            if bench.due:
                bench.turn()
            if asks:
                last: set[Host | None] = {hosts[at] for at in known} or {None}
                assert set(bench.picks()[:5]) <= last
    bench.rest()
    if changes and changes[-1][0]:
        assert bench.picks() == expected([hosts[at] for at in sorted(changes[-1][0])])
