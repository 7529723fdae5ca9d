"""Work in slices: requests are served in between, and nothing of it shows before its end."""

from __future__ import annotations

from itertools import count

import pytest

from proxy.config.snapshot import Steps
from proxy.xds.slices import SLICE_SECONDS, run_rest, run_slice


def work(done: list[int], steps: int) -> Steps[None]:
    for number in range(steps):
        done.append(number)
        yield
    done.append(-1)


def test_a_slice_ends_with_its_time() -> None:
    done: list[int] = []
    clock = count(0, SLICE_SECONDS / 3)
    steps = work(done, 100)
    assert not run_slice(steps, lambda: next(clock))
    assert 1 < len(done) < 10


def test_what_fits_a_slice_is_done() -> None:
    done: list[int] = []
    assert run_slice(work(done, 3), lambda: 0.0)
    assert done == [0, 1, 2, -1]


async def test_the_rest_is_done_slice_by_slice() -> None:
    done: list[int] = []
    clock = count(0, SLICE_SECONDS)
    await run_rest(work(done, 20), lambda: next(clock))
    assert done[-1] == -1


async def test_what_is_wrong_is_raised_to_the_caller() -> None:
    def fails() -> Steps[None]:
        yield
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await run_rest(fails(), lambda: 0.0)
