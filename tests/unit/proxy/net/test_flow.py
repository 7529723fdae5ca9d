"""The driver: wakes, throws, and what a coroutine does to itself while it runs."""

from __future__ import annotations

import weakref

import pytest

from proxy.net.flow import PAUSE, Flow


class Ends:
    def __init__(self) -> None:
        self.seen: list[BaseException | None] = []
        self.flow = Flow(self.seen.append)


def test_a_flow_that_ended_by_a_fault_is_freed_without_the_garbage_collector() -> None:
    async def work() -> None:
        await PAUSE

    class Owner:
        def __init__(self) -> None:
            self.flow = Flow(self.ended)

        def ended(self, error: BaseException | None) -> None: ...

    owner = Owner()
    owner.flow.start(work())
    owner.flow.throw(ValueError())
    assert owner.flow.done
    kept = weakref.ref(owner)
    del owner
    assert kept() is None


def test_a_wake_runs_to_the_next_pause() -> None:
    ends, steps = Ends(), []

    async def work() -> None:
        for step in range(3):
            steps.append(step)
            await PAUSE

    ends.flow.start(work())
    assert steps == [0]
    ends.flow.wake()
    assert steps == [0, 1]
    ends.flow.wake()
    ends.flow.wake()
    assert ends.seen == [None]
    assert ends.flow.done
    ends.flow.wake()  # too late, harmless


def test_a_throw_is_raised_at_the_pause() -> None:
    ends, seen = Ends(), []

    async def work() -> None:
        try:
            await PAUSE
        except KeyError as error:
            seen.append(error)
        await PAUSE

    ends.flow.start(work())
    ends.flow.throw(KeyError("x"))
    assert len(seen) == 1
    assert not ends.flow.done
    error = ValueError("y")
    ends.flow.throw(error)
    assert ends.seen == [error]


@pytest.mark.parametrize("through", ["start", "throw"])
def test_a_throw_from_inside_waits_for_the_next_pause(through: str) -> None:
    ends, seen = Ends(), []

    async def work() -> None:
        if through == "throw":
            try:
                await PAUSE
            except KeyError:
                pass
        ends.flow.wake()  # dropped: it is running
        ends.flow.throw(ValueError("self"))
        seen.append("went on")
        try:
            await PAUSE
        except ValueError:
            seen.append("raised")

    ends.flow.start(work())
    if through == "throw":
        ends.flow.throw(KeyError())
    assert seen == ["went on", "raised"]
    assert ends.seen == [None]
