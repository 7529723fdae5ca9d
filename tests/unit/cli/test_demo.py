"""The command around the facts: exit status, what is said, and that the mesh is ended whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import demo
from cli.demo_facts import Fact, Page, Started
from cli.demo_mesh import DemoFailed

STARTED = Started(7, 7, 3.0, 1 << 28)
GOOD, BAD = (Page("http://x", status, 1.0, "reviews-v1", "") for status in (200, 503))


class FakeMesh:
    """Starts at once, or fails with what it is told."""

    failure: BaseException | None = None
    ended: list[bool]  # keep_logs of each end

    def __init__(self, state: Path) -> None:
        self.state = state
        self.gateway = "http://127.0.0.1:1"

    def up(self, manifests: object, gateway_port: int | None) -> Started:
        if FakeMesh.failure:
            raise FakeMesh.failure
        return STARTED

    def end(self, *, keep_logs: bool) -> None:
        FakeMesh.ended.append(keep_logs)


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "RunningMesh", FakeMesh)
    monkeypatch.setattr(demo, "INTERRUPTIONS", ())  # the test's own signal handlers stay
    FakeMesh.failure, FakeMesh.ended = None, []


def run(
    monkeypatch: pytest.MonkeyPatch, *found: Fact | Exception, flags: tuple[str, ...] = ("--once",)
) -> tuple[int, str]:
    def facts(_mesh: object, started: Started) -> Iterator[Fact]:
        yield started
        for each in found:
            if isinstance(each, Exception):
                raise each
            yield each

    monkeypatch.setattr(demo, "facts", facts)
    result = CliRunner().invoke(demo.command, flags)
    return result.exit_code, result.output


def test_all_true(monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = run(monkeypatch, GOOD)
    assert (status, FakeMesh.ended) == (0, [False])
    assert "✓ everything told was true" in said


def test_one_untrue_fact_fails_it_and_the_rest_is_still_told(monkeypatch: pytest.MonkeyPatch) -> None:
    status, said = run(monkeypatch, BAD, GOOD)
    assert (status, FakeMesh.ended) == (1, [True])
    assert "✗ http://x answered 503" in said
    assert said.count("GET http://x") == 2
    assert "✗ not everything told was true" in said


@pytest.mark.parametrize("error", [DemoFailed("no namespaces here"), OSError("details-v1 has no rule")])
def test_a_failure_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    status, said = run(monkeypatch, error)
    assert (status, FakeMesh.ended) == (1, [True])
    assert f"✗ {error}" in said
    assert "Traceback" not in said


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeMesh.failure = KeyboardInterrupt()
    assert run(monkeypatch)[0] == demo.INTERRUPTED
    assert FakeMesh.ended == [False]


def test_ctrl_c_at_the_end_is_how_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def pause() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo.signal, "pause", pause)
    status, said = run(monkeypatch, GOOD, flags=())
    assert (status, FakeMesh.ended) == (0, [False])
    assert "http://127.0.0.1:1/productpage" in said
