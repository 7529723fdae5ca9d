"""Goals: met, missed, or not measured."""

from __future__ import annotations

from typing import Any

import pytest

from bench.goals import BODIES, GOALS, judged, table
from bench.workloads import WORKLOADS


def _document(**ratios: float) -> dict[str, Any]:
    return {
        "workloads": {
            name: {"ratio_to_envoy": {"glassmesh": {"bytes_per_cpu_second": value}}}
            for name, value in ratios.items()
        }
    }


def test_a_goal_that_was_not_measured_is_neither_met_nor_missed() -> None:
    found = judged({"workloads": {}})
    assert {one["met"] for one in found.values()} == {None}
    assert table(found).row_count == 0


@pytest.mark.parametrize(("worst", "met"), [(0.79, False), (0.8, True), (3.0, True)])
def test_the_worst_of_the_bodies_decides(worst: float, met: bool) -> None:
    found = judged(_document(**{**dict.fromkeys(BODIES, 5.0), BODIES[2]: worst}))["bodies"]
    assert (found["measured"], found["met"]) == (worst, met)


def test_some_bodies_are_not_all() -> None:
    assert judged(_document(**{BODIES[0]: 1.0}))["bodies"]["met"] is None


def test_a_python_peer_is_compared_by_requests_per_cpu_second() -> None:
    peers = {
        name: {"medians": {"requests_per_cpu_second": value}}
        for name, value in (("glassmesh", 30_000.0), ("mitmproxy", 1_000.0), ("proxy_py", 10_001.0))
    }
    found = judged({"workloads": {"one_hop": {"peers": peers, "ratio_to_envoy": {}}}})
    assert found["mitmproxy"]["met"] is True
    assert found["proxy_py"]["met"] is False


def test_configuration_at_scale_states_its_own_figures() -> None:
    found = judged({"workloads": {}, "scale": {"goals": {"applied_s": 0.4, "memory_ratio": 1.1}}})
    assert (found["change_seconds"]["met"], found["rss_1000_services"]["met"]) == (True, False)
    assert table(found).row_count == 2


def test_every_workload_a_goal_names_is_there() -> None:
    names = {one.name for one in WORKLOADS}
    assert set(BODIES) | {"istio", "saturation_16", "routes_1000", "new_connections", "one_hop"} <= names
    assert len({goal.name for goal in GOALS}) == len(GOALS)
