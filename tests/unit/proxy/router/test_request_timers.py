"""The clocks of one request: what is due is thrown, the earliest first, and nothing after its end."""

from __future__ import annotations

import pytest

from proxy.deadlines import Deadlines
from proxy.router.request_timers import PerTryTimeout, RequestTimers, RouteTimeout
from proxy.router.timeouts import Timeouts
from tests.unit.proxy.in_memory import FakeLoop


class Thrown:
    """A flow that only remembers what was thrown into it, and when."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop
        self.faults: list[tuple[type[BaseException], float]] = []

    def wake(self) -> None: ...

    def throw(self, fault: BaseException) -> None:
        self.faults.append((type(fault), round(self.loop.now - 1000.0, 1)))


def begun(route: float, per_try: float) -> tuple[FakeLoop, Thrown, RequestTimers, Deadlines]:
    loop = FakeLoop()
    thrown = Thrown(loop)
    deadlines = Deadlines(loop.call_later, loop.time)
    timers = RequestTimers(Timeouts(route, per_try), deadlines, thrown)
    timers.on_request_received()
    timers.on_connected(received=True)
    return loop, thrown, timers, deadlines


@pytest.mark.parametrize(
    ("route", "per_try", "expected"),
    [
        (1.0, 0.0, [(RouteTimeout, 1.0)]),
        (0.0, 0.5, [(PerTryTimeout, 0.5)]),
        (1.0, 0.5, [(PerTryTimeout, 0.5), (RouteTimeout, 1.0)]),
        (1.0, 0.999, [(PerTryTimeout, 1.0), (RouteTimeout, 1.0)]),
    ],
)
def test_what_passes_is_thrown(
    route: float, per_try: float, expected: list[tuple[type[BaseException], float]]
) -> None:
    loop, thrown, _, _ = begun(route, per_try)
    loop.advance(3.0)
    assert thrown.faults == expected


def test_the_next_attempt_has_its_own_time() -> None:
    loop, thrown, timers, _ = begun(2.0, 0.5)
    loop.advance(0.4)
    timers.on_attempt_over()
    loop.advance(0.4)
    timers.on_connected(received=True)
    loop.advance(3.0)
    assert thrown.faults == [(PerTryTimeout, 1.3), (RouteTimeout, 2.0)]


def test_one_deadline_is_armed_for_both_and_none_is_left() -> None:
    _, _, timers, deadlines = begun(2.0, 0.5)
    assert "armed=1" in repr(deadlines)
    timers.on_response()
    timers.disarm()
    assert "armed=0" in repr(deadlines)
