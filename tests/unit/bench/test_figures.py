"""From what was observed to figures: per sidecar, per request, over no proxy, over Envoy."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from bench.figures import Measured, Observed, figures, medians, ratios, spread, with_added
from bench.peers import PEERS

_MEMORY = {"client": {"rss": 10_000, "pss": 8_000}, "server": {"rss": 20_000, "pss": 10_000}}
_GROWN = {"client": {"rss": 10_000, "pss": 8_000}, "server": {"rss": 60_000, "pss": 50_000}}
_RESULT = {"requests": 1000, "seconds": 2.0, "requests_per_second": 500.0, "p99_us": 900.0}


def _observed(**result: Any) -> Observed:
    cpu = {"client": 0.1, "server": 0.3}
    return Observed({**_RESULT, **result}, cpu, {"client": 0.0, "server": 0.5}, _MEMORY, _GROWN)


def test_a_figure_is_the_mean_of_both_sidecars() -> None:
    found = figures(_observed(bytes=4_000_000))
    assert found["cpu_us_per_request"] == pytest.approx(200)
    assert found["cpu_us_per_request_server"] == pytest.approx(300)
    assert found["requests_per_cpu_second"] == pytest.approx(5000)
    assert found["bytes_per_cpu_second"] == pytest.approx(20_000_000)
    assert found["vcpu"] == pytest.approx(0.1)
    assert found["rss_kib"] == 35_000
    assert found["p99_us"] == 900


def test_the_kernel_has_its_share_of_each_sidecar() -> None:
    observed = dataclasses.replace(_observed(), in_kernel={"client": 0.5, "server": 0.1})
    assert figures(observed)["kernel_us_per_request"] == pytest.approx(40)


def test_a_load_on_the_server_alone_counts_the_server_alone() -> None:
    assert figures(_observed(), ["server"])["cpu_us_per_request"] == pytest.approx(300)


def test_connections_held_cost_what_grew_since_before_them() -> None:
    found = figures(_observed(connections_held=1000), ["server"])
    assert found["kib_per_connection"] == 40
    assert found["cpu_us_per_connection"] == pytest.approx(500)


def test_without_a_proxy_there_is_only_what_the_generator_saw() -> None:
    assert figures(Observed(_RESULT, {}, {}, {}, {})) == {"requests_per_second": 500.0, "p99_us": 900.0}


def _measured(name: str, values: list[float]) -> Measured:
    peer = next(peer for peer in PEERS if peer.name == name)
    rounds = [{"p99_us": value} for value in values]
    return Measured(peer, {} if name == "direct" else _MEMORY, rounds)


def test_what_a_proxy_adds_is_counted_round_by_round() -> None:
    floor, ours = _measured("direct", [100, 500]), _measured("glassmesh", [300, 900])
    with_added([floor, ours])
    assert [one["added_p99_us"] for one in ours.rounds] == [200, 400]
    assert "added_p99_us" not in floor.rounds[0]


def test_without_a_floor_nothing_is_said_of_what_is_added() -> None:
    ours = _measured("glassmesh", [300])
    with_added([ours])
    assert ours.rounds == [{"p99_us": 300}]


def test_medians_and_spread_over_the_rounds() -> None:
    ours = _measured("glassmesh", [45, 30, 60])
    assert medians(ours) == {"p99_us": 45, "rss_idle_kib": 15_000, "pss_idle_kib": 9_000}
    assert spread(ours) == {"p99_us": [30, 60]}


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ({"a": 2.0}, {"a": 4.0}, {"a": 0.5}),
        ({"a": 2.0}, {"b": 4.0}, {}),
        ({"a": 2.0}, {"a": 0.0}, {}),
        ({"a": 2.0}, {"a": -1.0}, {}),  # a latency "added" below none says nothing
    ],
)
def test_a_ratio_needs_both_sides(
    ours: dict[str, float], theirs: dict[str, float], expected: dict[str, float]
) -> None:
    assert ratios(ours, theirs) == expected
