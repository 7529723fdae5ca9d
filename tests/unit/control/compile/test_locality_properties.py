"""What holds for every preference: Envoy's rules for priorities and weights, and no endpoint lost or doubled."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control.compile.locality import Preference, by_locality, prefer
from control.push.context import Endpoint
from control.registry.locality import Locality
from control.registry.workload import Workload
from control.resources.load_balancer import LocalityLoadBalancerSetting

NAMES = st.sampled_from(["", "1", "2"])
PLACES = st.builds(Locality, NAMES, NAMES, NAMES)
LABELS = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]))


def endpoint(number: int, place: Locality, labels: dict[str, str], weight: int) -> Endpoint:
    return Endpoint(
        Workload(
            f"w{number}", "n", f"10.0.0.{number}", labels, "", "", True, {}, locality=place, weight=weight
        ),
        80,
    )


ENDPOINTS = st.lists(st.tuples(PLACES, LABELS, st.integers(1, 9)), max_size=8).map(
    lambda found: [endpoint(number, *each) for number, each in enumerate(found)]
)
FAILOVERS = st.fixed_dictionaries(
    {},
    optional={
        "failover": st.just([{"from": "1", "to": "2"}]),
        "failoverPriority": st.lists(st.sampled_from(["a", "b=y", "c"]), min_size=1, max_size=3, unique=True),
    },
)
SHARES = st.sampled_from(
    [{"*": 100}, {"1": 30, "2": 70}, {"1/*": 50, "2/1": 50}, {"1/2/2": 10, "2": 90}, {"1/1": 99, "1/2": 1}]
)


def preferred(
    endpoints: list[Endpoint], here: Locality, setting: dict[str, Any], failover: bool = True
) -> Any:
    parsed = LocalityLoadBalancerSetting.model_validate(setting)
    return prefer(by_locality(endpoints), Preference(here, {"a": "x", "b": "x"}, parsed, failover))


@settings(max_examples=40)
@given(ENDPOINTS, PLACES, FAILOVERS)
def test_failover_keeps_every_endpoint_once(endpoints: list[Endpoint], here: Locality, setting: Any) -> None:
    groups = preferred(endpoints, here, setting)
    assert sorted(e.workload.name for group in groups for e in group.endpoints) == [
        e.workload.name for e in endpoints
    ]
    assert {group.priority for group in groups} == set(range(len({group.priority for group in groups})))
    assert all(group.weight == sum(e.workload.weight for e in group.endpoints) for group in groups)


@settings(max_examples=40)
@given(ENDPOINTS, PLACES, FAILOVERS)
def test_without_failover_nothing_is_preferred(
    endpoints: list[Endpoint], here: Locality, setting: Any
) -> None:
    assert preferred(endpoints, here, setting, failover=False) == by_locality(endpoints)


@settings(max_examples=40)
@given(ENDPOINTS, PLACES, SHARES)
def test_shares_leave_no_endpoint_doubled_and_no_weight_of_zero(
    endpoints: list[Endpoint], here: Locality, shares: dict[str, int]
) -> None:
    groups = preferred(endpoints, here, {"distribute": [{"from": "*", "to": shares}]})
    names = [e.workload.name for group in groups for e in group.endpoints]
    assert len(names) == len(set(names))
    assert all(group.weight >= 1 and group.priority == 0 for group in groups)
