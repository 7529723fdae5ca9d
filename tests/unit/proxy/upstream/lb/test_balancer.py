"""Priority, then locality, then policy; and what costs nothing when there is only one way."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from proxy.observability.stats import Counter as Stat
from proxy.upstream.host import Host
from proxy.upstream.host_set import host_sets
from proxy.upstream.lb.balancer import GroupBalancer, LocalityRule
from proxy.upstream.lb.hash_balancer import HashBalancer
from proxy.upstream.lb.hashing import xxhash64
from proxy.upstream.lb.interface import Making
from proxy.upstream.lb.maglev import maglev
from proxy.upstream.lb.random import Random
from proxy.upstream.lb.retry_priority import PreviousPriorities
from proxy.upstream.lb.ring_hash import ring_hash
from proxy.upstream.lb.round_robin import RoundRobin
from tests.unit.proxy.upstream.lb.members import members, number, numbers, sets


def rule(weighted: bool = False, panic: int = 0) -> LocalityRule:
    return LocalityRule(Stat("panics"), weighted=weighted, panic_threshold=panic)


def seeded() -> Callable[[], float]:
    return random.Random(7).random


def never(_: Callable[[], None]) -> None:
    """Nothing is done beside requests."""


def group(of: LocalityRule | None = None) -> GroupBalancer:
    return GroupBalancer(Random, seeded(), of or rule())


def picks(balancer: GroupBalancer | HashBalancer, times: int) -> Counter[int | None]:
    return Counter(numbers(balancer.pick(None, 0, None) for _ in range(times)))


def test_without_hosts_there_is_none() -> None:
    for balancer in (group(), HashBalancer(lambda shares: maglev(shares, 11), seeded(), rule(), never)):
        assert balancer.pick(1, 0, None) is None
        balancer.update(sets("UU"))
        assert balancer.pick(1, 0, None) is None
        assert balancer.direct is None


@pytest.mark.parametrize(
    ("priorities", "direct"),
    [
        (["HHH"], True),
        (["HHU"], True),
        (["HHH", "HH"], True),
        (["", "HH"], True),
        (["HUU", "HH"], False),
        (["DD"], False),
        (["UU"], False),
    ],
)
def test_the_one_group_that_gets_everything_is_asked_directly(priorities: list[str], direct: bool) -> None:
    balancer = group()
    balancer.update(sets(*priorities))
    assert (balancer.direct is not None) == direct


def test_ejection_takes_a_host_out_and_back() -> None:
    hosts = members("HH")
    balancer = group()
    for ejected, seen in ((False, {0, 1}), (True, {1}), (False, {0, 1})):
        hosts[0].ejected = ejected
        balancer.update(host_sets(hosts))
        assert set(picks(balancer, 40)) == seen


def test_what_a_priority_cannot_take_spills_to_the_next() -> None:
    balancer = group()
    balancer.update(sets("HUU", "HHH"))
    found = picks(balancer, 4000)
    assert found[0] == pytest.approx(1840, abs=150)
    assert {found[at] // 100 for at in (10, 11, 12)} <= set(range(5, 10))


def test_panic_takes_every_host_and_is_counted() -> None:
    panicking = rule(panic=50)
    balancer = group(panicking)
    balancer.update(sets("HUU"))
    assert set(picks(balancer, 60)) == {0, 1, 2}
    assert panicking.panics.value == 60


def test_degraded_hosts_take_what_is_left() -> None:
    balancer = group()
    balancer.update(sets("HDD"))
    found = picks(balancer, 3000)
    assert found[0] == pytest.approx(1380, abs=120)
    assert found[1] + found[2] == 3000 - found[0]


def zones(*places: tuple[str, int, str]) -> list[Host]:
    """(zone, weight of the zone, healths)"""
    found: list[Host] = []
    for at, (zone, weight, healths) in enumerate(places):
        found += members(healths, 10 * at, locality=("r", zone, ""), locality_weight=weight)
    return found


@pytest.mark.parametrize(
    ("places", "shares"),
    [
        ([("a", 3, "HH"), ("b", 1, "H")], [0.75, 0.25]),
        ([("a", 1, "HUUUU"), ("b", 1, "H")], [0.21875, 0.78125]),  # 1.4 x 1/5 of its weight
        ([("a", 1, "HHHHU"), ("b", 1, "H")], [0.5, 0.5]),  # 1.4 x 4/5 is more than all of it
        ([("a", 0, "HH"), ("b", 5, "H")], [0.0, 1.0]),
        ([("a", 0, "HH"), ("b", 0, "HH")], [0.5, 0.5]),  # no weights at all: by hosts
        ([("a", 9, "UU"), ("b", 1, "H")], [0.0, 1.0]),
    ],
)
def test_localities_get_what_they_weigh(places: list[tuple[str, int, str]], shares: list[float]) -> None:
    balancer = GroupBalancer(RoundRobin, seeded(), rule(weighted=True))
    balancer.update(host_sets(zones(*places)))
    found = picks(balancer, 800)
    for at, share in enumerate(shares):
        got = sum(count for host, count in found.items() if host is not None and host // 10 == at)
        assert got == pytest.approx(800 * share, abs=8)


def test_turns_go_on_when_hosts_change() -> None:
    balancer = GroupBalancer(RoundRobin, lambda: 0.0, rule())
    hosts = members("HHH")
    balancer.update(host_sets(hosts))
    assert balancer.direct is not None
    assert number(balancer.direct.pick(lambda: 0.0)) == 0  # type: ignore[arg-type]
    balancer.update(host_sets([*hosts, *members("H", 3)]))
    assert numbers(balancer.pick(None, 0, None) for _ in range(4)) == [1, 2, 3, 0]


def ring(of: LocalityRule | None = None) -> HashBalancer:
    return HashBalancer(
        lambda shares: ring_hash(shares, 1024, 2**23, xxhash64), seeded(), of or rule(), never
    )


def test_a_key_has_one_host_and_no_key_any() -> None:
    balancer = ring()
    balancer.update(sets("HHHH"))
    assert len({number(balancer.pick(12345, 0, None)) for _ in range(10)}) == 1
    assert set(picks(balancer, 200)) == {0, 1, 2, 3}


def test_a_key_chooses_its_priority_too() -> None:
    balancer = ring()
    balancer.update(sets("HUU", "H"))
    assert numbers(balancer.pick(key, 0, None) for key in (100, 145, 146, 199)) == [0, 0, 10, 10]


def test_tables_are_made_when_a_request_needs_them() -> None:
    made: list[int] = []

    def make(shares: object) -> Making:
        made.append(1)
        return ring_hash(shares, 16, 64, xxhash64)  # type: ignore[arg-type]

    balancer = HashBalancer(make, seeded(), rule(), never)
    balancer.update(sets("HH", "HH"))
    assert not made
    for key in range(50):
        balancer.pick(key, 0, None)
    assert len(made) == 1  # of the first priority alone


def test_a_retry_turns_to_priorities_not_tried() -> None:
    balancer = group()
    balancer.update(sets("HH", "HH", "HH"))
    memory = PreviousPriorities(2)
    found = []
    for _ in range(8):
        host = balancer.pick(None, 0, memory)
        assert host is not None
        memory.attempted(host)
        found.append(host.priority)
    # After two attempts the next priority, and when all were tried, from the beginning.
    assert found[:6] == [0, 0, 1, 1, 2, 2]
    assert found[6:] == [0, 0]


def test_priorities_may_go_between_two_attempts() -> None:
    balancer = group()
    balancer.update(sets("HH", "HH", "HH"))
    memory = PreviousPriorities(2)
    for _ in range(3):
        host = balancer.pick(None, 0, memory)
        assert host is not None
        memory.attempted(host)
    balancer.update(sets("HH"))
    host = balancer.pick(None, 0, memory)  # the load noted after two attempts is for three priorities
    assert host is not None
    assert host.priority == 0


def test_retry_priority_with_nothing_available_changes_nothing() -> None:
    balancer = group(rule(panic=50))
    balancer.update(sets("UU"))
    memory = PreviousPriorities(1)
    for _ in range(3):
        host = balancer.pick(None, 0, memory)
        assert host is not None
        memory.attempted(host)
