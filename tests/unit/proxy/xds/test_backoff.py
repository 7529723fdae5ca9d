"""Backoff doubles, stays in bounds, and starts over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.xds.backoff import Backoff


def test_doubles_to_the_maximum_and_starts_over() -> None:
    backoff = Backoff(1, 5)
    assert [backoff.next(1) for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next(0) == 0.5


@given(st.lists(st.floats(min_value=0, max_value=1), max_size=50))
def test_never_zero_never_beyond(draws: list[float]) -> None:
    backoff = Backoff(0.2, 10)
    assert all(0.1 <= backoff.next(draw) <= 10 for draw in draws)
