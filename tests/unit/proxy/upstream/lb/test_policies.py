"""What every load-balancing policy keeps to, and what each does of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.cluster import Cluster
from proxy.observability.stats import StatsStore
from proxy.upstream.lb import POLICIES, Means, build_balancer
from proxy.upstream.lb.balancer import GroupBalancer
from proxy.upstream.lb.edf import EdfSchedule
from proxy.upstream.lb.hash_balancer import HashBalancer
from proxy.upstream.lb.interface import Policy
from proxy.upstream.lb.least_request import LeastRequest
from proxy.upstream.lb.random import Random
from proxy.upstream.lb.round_robin import RoundRobin

SIMPLE = {"ROUND_ROBIN": RoundRobin, "LEAST_REQUEST": LeastRequest, "RANDOM": Random}


@dataclass(eq=False)
class Host:
    name: str
    weight: int = 1
    rq_active: int = 0
    healthy_since: float | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name


def hosts(*weights: int) -> list[Host]:
    return [Host(chr(97 + i), weight) for i, weight in enumerate(weights)]


def draws(*values: float) -> Callable[[], float]:
    """Those values, over and over."""
    numbers: Iterator[float] = (values[i % len(values)] for i in count())
    return lambda: next(numbers)


def picks(policy: Policy, times: int, draw: Callable[[], float]) -> str:
    return "".join(cast(Host, policy.pick(draw)).name for _ in range(times))


def cluster(**fields: Any) -> Cluster:
    raw = {"name": "c", "type": "EDS", **fields}
    return msgspec.json.decode(msgspec.json.encode(raw), type=Cluster)


def test_the_list_names_envoys_policies() -> None:
    panics = StatsStore().counter("panics")
    means = Means(draws(0.0), lambda: 0.0, lambda _: None)
    kinds = {name: type(build_balancer(cluster(lb_policy=name), means, panics)) for name in POLICIES}
    assert kinds == {
        "ROUND_ROBIN": GroupBalancer,
        "LEAST_REQUEST": GroupBalancer,
        "RANDOM": GroupBalancer,
        "RING_HASH": HashBalancer,
        "MAGLEV": HashBalancer,
    }


@pytest.mark.parametrize("name", SIMPLE)
@given(
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    numbers=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=9),
    after=st.lists(st.integers(1, 9), min_size=1, max_size=6),
)
def test_a_pick_is_always_one_of_the_hosts_given_last(
    name: str, weights: list[int], numbers: list[float], after: list[int]
) -> None:
    policy, draw = SIMPLE[name](), draws(*numbers)
    for given_hosts in (hosts(*weights), hosts(*after)):
        policy.update(given_hosts)
        assert all(policy.pick(draw) in given_hosts for _ in range(20))


@pytest.mark.parametrize("name", SIMPLE)
def test_one_host_gets_everything(name: str) -> None:
    policy = SIMPLE[name]()
    policy.update(hosts(5))
    assert picks(policy, 4, draws(0.0, 0.99)) == "aaaa"


def test_round_robin_starts_anywhere_and_goes_on_in_turn() -> None:
    for start, wanted in ((0.0, "abcabc"), (0.34, "bcabca"), (0.99, "cabcab")):
        policy = RoundRobin()
        policy.update(hosts(1, 1, 1))
        assert picks(policy, 6, draws(start)) == wanted


def test_round_robin_is_smooth_with_weights() -> None:
    policy = RoundRobin()
    policy.update(hosts(1, 2, 1))
    assert sorted(picks(policy, 4, draws(0.0))) == list("abbc")
    assert "bbb" not in picks(policy, 40, draws(0.0))


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6), st.integers(1, 5))
def test_turns_are_in_proportion_to_weights(weights: list[int], rounds: int) -> None:
    given_hosts = hosts(*weights)
    schedule = EdfSchedule(given_hosts, lambda host: host.weight)
    turns = Counter(cast(Host, schedule.next()).name for _ in range(sum(weights) * rounds))
    for host in given_hosts:
        assert abs(turns[host.name] - host.weight * rounds) <= 1


def test_least_request_takes_the_less_busy_of_two() -> None:
    policy, (a, b, c) = LeastRequest(), hosts(1, 1, 1)
    policy.update([a, b, c])
    a.rq_active, b.rq_active, c.rq_active = 3, 1, 2
    assert policy.pick(draws(0.0, 0.4)) is b
    assert policy.pick(draws(0.0, 0.9)) is c
    assert policy.pick(draws(0.0, 0.1)) is a  # the same host drawn twice
    a.rq_active = 1
    assert policy.pick(draws(0.4, 0.0)) is b  # of equals the first drawn


def test_least_request_draws_as_often_as_it_is_told() -> None:
    policy = LeastRequest(choice_count=3)
    a, b, c = hosts(1, 1, 1)
    a.rq_active, b.rq_active = 2, 1
    policy.update([a, b, c])
    assert policy.pick(draws(0.0, 0.4, 0.9)) is c


def test_least_request_with_weights_weighs_the_load() -> None:
    policy, (light, heavy) = LeastRequest(), hosts(1, 3)
    policy.update([light, heavy])
    assert Counter(picks(policy, 40, draws(0.0))) == {"a": 10, "b": 30}
    heavy.rq_active = 5  # its share is now 3/6 against 1
    turns = Counter(picks(policy, 60, draws(0.0)))
    assert turns["a"] > turns["b"]


def test_random_is_uniform_whatever_the_weights() -> None:
    policy = Random()
    policy.update(hosts(1, 100))
    assert picks(policy, 4, draws(0.0, 0.49, 0.5, 0.99)) == "aabb"
