"""What blocking generators tell of their requests: what ended while it was measured, or that one went wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator

import pytest

from bench.body_app import WrongBody
from bench.lanes import Lanes, measure


def test_requests_and_bytes_are_told_and_every_lane_ends(capsys: pytest.CaptureFixture[str]) -> None:
    ended = []

    def lane() -> Generator[None]:
        try:
            while True:
                threading.Event().wait(0.001)
                yield
        finally:
            ended.append(threading.current_thread())

    measure(Lanes(3, lane), 0.02, 0.05, 10)
    first, told = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"event": "measuring"}
    assert (told["event"], told["errors"]) == ("done", 0)
    assert told["requests"] > 0
    assert told["bytes"] == 10 * told["requests"]
    assert told["bytes_per_second"] == told["bytes"] / told["seconds"]
    assert len(ended) == 3
    assert not any(thread.is_alive() for thread in ended)


@pytest.mark.parametrize(
    "error", [WrongBody("differs"), EOFError(), ConnectionResetError(), ValueError("no length")]
)
def test_one_lane_that_fails_fails_the_run(capsys: pytest.CaptureFixture[str], error: Exception) -> None:
    def lane() -> Generator[None]:
        yield
        raise error

    measure(Lanes(1, lane), 0.0, 0.02)
    first, told = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"event": "measuring"}
    assert told == {"event": "done", "errors": 1, "error": repr(error)}
