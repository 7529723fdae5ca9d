"""Hosts by priority, health and locality."""

from __future__ import annotations

from proxy.upstream.host_set import host_sets
from tests.unit.proxy.upstream.lb.members import members, numbers


def test_there_is_always_a_first_priority() -> None:
    (only,) = host_sets([])
    assert (only.priority, only.hosts, only.localities) == (0, (), ())
    assert only.availability(only.healthy) == 0


def test_priorities_have_no_gaps() -> None:
    found = host_sets(members("HH", priority=2))
    assert [len(one.hosts) for one in found] == [0, 0, 2]


def test_health_and_ejection_decide_the_group() -> None:
    hosts = members("HUDDH")
    hosts[3].ejected = hosts[4].ejected = True
    (one,) = host_sets(hosts)
    assert (numbers(one.healthy), numbers(one.degraded)) == ([0], [2])
    assert len(one.hosts) == 5


def test_localities_are_in_the_order_of_their_names() -> None:
    hosts = [
        *members("HU", locality=("r", "b", ""), locality_weight=2),
        *members("H", 5, locality=("r", "a", ""), locality_weight=7),
    ]
    (one,) = host_sets(hosts)
    assert [(place.weight, numbers(place.hosts), numbers(place.healthy)) for place in one.localities] == [
        (7, [5], [5]),
        (2, [0, 1], [0]),
    ]
    assert numbers(one.hosts) == [0, 1, 5]
    (seen_from_b,) = host_sets(hosts, here=("r", "b", ""))
    assert [place.weight for place in seen_from_b.localities] == [2, 7]
