"""How far back a watch may begin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.store.history import Change, History
from control.store.interface import Expired


def change(version: int) -> Change:
    return Change(version, "ADDED", {"metadata": {"name": str(version)}}, None)


@given(st.integers(1, 5), st.integers(0, 40), st.integers(0, 50))
def test_since_gives_everything_later_or_says_expired(limit: int, count: int, since: int) -> None:
    history = History(0, limit)
    for version in range(1, count + 1):
        history.append(change(version))
    if since < history.floor:
        with pytest.raises(Expired, match="too old resource version"):
            history.since(since)
    else:
        assert [c.version for c in history.since(since)] == list(range(since + 1, count + 1))


def test_keeps_at_least_the_limit_and_at_most_twice() -> None:
    history = History(0, 3)
    for version in range(1, 100):
        history.append(change(version))
        held = history.since(history.floor)
        assert min(version, 3) <= len(held) <= 6


def test_what_was_before_the_start_is_expired() -> None:
    with pytest.raises(Expired):
        History(7, 10).since(6)
