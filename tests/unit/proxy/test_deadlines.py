"""Deadlines on a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.deadlines import FINENESS, RESOLUTION, Deadlines
from tests.unit.proxy.in_memory import FakeHandle, FakeLoop


def test_it_fires_once_and_never_early() -> None:
    loop, fired = FakeLoop(), []
    deadlines = Deadlines(loop.call_later, loop.time)
    start = loop.now
    deadlines.after(0.1, lambda: fired.append(loop.now - start))
    loop.advance(0.099)
    assert fired == []
    loop.advance(1)
    assert len(fired) == 1
    assert 0.1 <= fired[0] <= 0.1 + 2 * RESOLUTION


def test_a_disarmed_deadline_does_not_fire_and_nothing_ticks() -> None:
    loop, fired = FakeLoop(), []
    deadlines = Deadlines(loop.call_later, loop.time)
    deadline = deadlines.after(1, lambda: fired.append(1))
    deadlines.disarm(deadline)
    deadlines.disarm(deadline)
    loop.advance(10)
    assert fired == []
    assert loop.timers == []


def test_an_action_that_fails_costs_no_other_its_deadline() -> None:
    loop, fired = FakeLoop(), []
    deadlines = Deadlines(loop.call_later, loop.time)

    def fail() -> None:
        raise RuntimeError

    for action in (lambda: fired.append(1), fail, lambda: fired.append(2)):
        deadlines.arm(loop.now + 0.1, action)
    deadlines.after(5, lambda: fired.append(3))
    loop.advance(10)
    assert sorted(fired) == [1, 2, 3]


def test_an_action_may_arm_and_disarm() -> None:
    loop, fired = FakeLoop(), []
    deadlines = Deadlines(loop.call_later, loop.time)
    later = deadlines.after(0.2, lambda: fired.append("never"))

    def act() -> None:
        deadlines.disarm(later)
        deadlines.after(0.05, lambda: fired.append("second"))

    deadlines.after(0.1, act)
    loop.advance(1)
    assert fired == ["second"]


def test_deadlines_taken_back_leave_few_buckets_behind() -> None:
    """An hour of connections that may idle for an hour, each closed at once."""
    loop = FakeLoop()
    deadlines = Deadlines(loop.call_later, loop.time)
    for _ in range(36_000):
        deadlines.disarm(deadlines.after(3600, lambda: None))
        loop.advance(0.1)
    assert len(deadlines._buckets) <= 2 * FINENESS
    assert len(deadlines._order) == len(deadlines._buckets)


def test_a_timer_that_fires_a_rounding_error_early_is_set_for_some_time() -> None:
    """A loop whose clock stands still meanwhile, as a test's does, would never get past it."""
    delays: list[float] = []

    def call_later(delay: float, callback: Callable[[], None]) -> FakeHandle:
        delays.append(delay)
        return loop.call_later(delay, callback)

    loop = FakeLoop()
    deadlines = Deadlines(call_later, loop.time)
    fired: list[float] = []
    deadlines.after(1.0, lambda: fired.append(loop.now))
    loop.now = deadlines._timer_for * RESOLUTION - 1e-13
    loop.timers.clear()
    deadlines._sweep()
    assert not fired
    assert delays[-1] > 1e-4
    loop.advance(0.001)
    assert len(fired) == 1


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 5) | st.floats(0, 5000), st.booleans()), max_size=30),
    st.lists(st.floats(0, 1) | st.floats(0, 500), max_size=30),
)
def test_every_armed_deadline_fires_in_time(arms: list[tuple[float, bool]], steps: list[float]) -> None:
    loop = FakeLoop()
    deadlines = Deadlines(loop.call_later, loop.time)
    start, fired = loop.now, {}
    for number, (delay, keep) in enumerate(arms):
        deadline = deadlines.after(delay, lambda number=number: fired.setdefault(number, loop.now - start))
        if not keep:
            deadlines.disarm(deadline)
    for step in [*steps, 6.0, 5100.0]:
        loop.advance(step)
    assert set(fired) == {number for number, (_, keep) in enumerate(arms) if keep}
    for number, when in fired.items():
        delay = arms[number][0]
        assert delay - 1e-6 <= when <= delay + 2 * RESOLUTION + 2 * delay / FINENESS + 1e-6
    assert loop.timers == []
