"""Loads of priorities, and panic: Envoy's integer arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.lb.priority_load import distribute, priority_load
from tests.unit.proxy.upstream.lb.members import sets

# priorities, panic threshold, healthy, degraded, panic
TABLE = [
    (["HHH"], 50, [100], [0], [False]),
    (["HHH", "HHH"], 50, [100, 0], [0, 0], [False, False]),
    (["HUU", "HHH"], 0, [46, 54], [0, 0], [False, False]),
    (["HHHHHHHUUU", "HHH"], 0, [98, 2], [0, 0], [False, False]),
    (["UUU", "HUU", "H"], 0, [0, 46, 54], [0, 0, 0], [False, False, False]),
    (["HUU", "UHU"], 0, [50, 50], [0, 0], [False, False]),  # 46 + 46 is not all: made to be
    (["HUUU", "HUU"], 0, [44, 56], [0, 0], [False, False]),
    (["DDH"], 0, [46], [54], [False]),
    (["HDUU", "HDDU"], 0, [35, 35], [30, 0], [False, False]),
    (["DD", "H"], 0, [0, 100], [0, 0], [False, False]),
    (["DD"], 0, [0], [100], [False]),
    (["UU"], 0, [100], [0], [False]),
    (["UU", "UU"], 0, [100, 0], [0, 0], [False, False]),
    ([""], 0, [100], [0], [False]),
    ([""], 50, [100], [0], [True]),
    (["UUU"], 50, [100], [0], [True]),
    (["HUU", "UUUUUUU"], 50, [30, 70], [0, 0], [True, True]),  # by the number of hosts
    (["HUU"], 33, [100], [0], [False]),
    (["HUU"], 34, [100], [0], [True]),
    (["HHUUUUU", "HHH"], 50, [40, 60], [0, 0], [False, False]),  # together there is enough: nobody panics
    (["HUUU", "HU"], 50, [35, 65], [0, 0], [False, False]),
    (["HUUUUUUU", "HUUU"], 50, [67, 33], [0, 0], [True, True]),
    (["", "HH"], 0, [0, 100], [0, 0], [False, False]),
]


@pytest.mark.parametrize(("priorities", "threshold", "healthy", "degraded", "panic"), TABLE)
def test_loads(
    priorities: list[str], threshold: int, healthy: list[int], degraded: list[int], panic: list[bool]
) -> None:
    load = priority_load(sets(*priorities), threshold)
    assert (list(load.healthy), list(load.degraded), list(load.panic)) == (healthy, degraded, panic)


def test_overprovisioning_is_configurable() -> None:
    assert priority_load(sets("HHU", "H", overprovisioning=100), 0).healthy == (66, 34)
    assert priority_load(sets("HHU", "H", overprovisioning=150), 0).healthy == (100, 0)


def test_a_number_chooses_by_its_remainder() -> None:
    load = priority_load(sets("HUU", "HHH"), 0)
    assert [load.choose(number) for number in (0, 45, 46, 99, 100, 145, 146)] == [
        (0, False),
        (0, False),
        (1, False),
        (1, False),
        (0, False),
        (0, False),
        (1, False),
    ]
    mixed = priority_load(sets("DDH"), 0)
    assert [mixed.choose(number) for number in (45, 46)] == [(0, False), (0, True)]


HEALTHS = st.lists(st.text("HUD", max_size=8), min_size=1, max_size=4)


@given(HEALTHS, st.integers(0, 100))
def test_everything_goes_somewhere(priorities: list[str], threshold: int) -> None:
    load = priority_load(sets(*priorities), threshold)
    assert sum(load.healthy) + sum(load.degraded) == 100
    assert min(load.healthy + load.degraded) >= 0
    for point in range(100):
        load.choose(point)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=5).filter(any))
def test_only_what_is_available_gets_load(availabilities: list[tuple[int, int]]) -> None:
    healthy, degraded = zip(*availabilities, strict=True)
    if not any(healthy) and not any(degraded):
        return
    loads = distribute(healthy, degraded)
    for load, available in zip(loads[0] + loads[1], healthy + degraded, strict=True):
        assert available or not load
