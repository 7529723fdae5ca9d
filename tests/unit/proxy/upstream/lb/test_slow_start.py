"""Envoy's slow-start factor, and what the policies make of it."""

from __future__ import annotations

from collections import Counter

import pytest

from proxy.upstream.host import Host
from proxy.upstream.lb.interface import Policy
from proxy.upstream.lb.least_request import LeastRequest
from proxy.upstream.lb.round_robin import RoundRobin
from proxy.upstream.lb.slow_start import SlowStart
from tests.unit.proxy.upstream.lb.members import members, number


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def young(window: float = 10.0, aggression: float = 1.0, least: float = 0.1) -> tuple[SlowStart, Clock, Host]:
    clock, (host,) = Clock(), members("H")
    slow = SlowStart(window, aggression, least, clock)
    slow.enter([host])
    return slow, clock, host


@pytest.mark.parametrize(
    ("aggression", "least", "factors"),
    [
        (1.0, 0.1, {0: 0.1, 0.5: 0.1, 2: 0.2, 5: 0.5, 9.9: 0.99, 10: 1.0, 99: 1.0}),
        (2.0, 0.0, {0: 0.01, 1: 0.1**0.5, 2.5: 0.5, 10: 1.0}),
        (0.5, 0.0, {5: 0.25, 9: 0.81}),
        (1.0, 0.5, {0: 0.5, 6: 0.6}),
        (0.0, 0.0, {5: 0.5}),  # no aggression is one of 1
    ],
)
def test_factor_by_age(aggression: float, least: float, factors: dict[float, float]) -> None:
    slow, clock, host = young(aggression=aggression, least=least)
    for age, factor in factors.items():
        clock.now = 100.0 + age
        assert slow.factor(host) == pytest.approx(factor)


def test_it_is_over_with_the_youngest() -> None:
    slow, clock, _ = young()
    assert slow.active
    clock.now += 10.5
    assert not slow.active
    slow.enter(members("H", 1))
    assert slow.active


def test_a_host_known_before_keeps_its_age() -> None:
    slow, clock, host = young()
    clock.now += 8
    slow.enter([host, *members("H", 1)])
    assert slow.factor(host) == pytest.approx(0.8)


@pytest.mark.parametrize("make", [RoundRobin, lambda slow: LeastRequest(slow_start=slow)])
def test_a_newcomer_gets_its_share_of_turns(make: object) -> None:
    slow, clock, old = young()
    clock.now += 20
    policy: Policy = make(slow)  # type: ignore[operator]
    newcomer = members("H", 1)[0]
    slow.enter([old, newcomer])
    policy.update([old, newcomer])
    for age, share in ((0.0, 0.1 / 1.1), (5.0, 0.5 / 1.5), (11.0, 0.5)):
        clock.now = 120.0 + age
        policy.update([old, newcomer])
        found = Counter(number(policy.pick(lambda: 0.4)) for _ in range(1000))  # type: ignore[arg-type]
        if age < 10 or isinstance(policy, RoundRobin):
            assert found[1] == pytest.approx(1000 * share, abs=5)
