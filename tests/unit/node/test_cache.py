"""The cache follows a fake API through changes, failures and a resourceVersion that is too old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from node import cache as module
from node.api_client import PODS, ApiAway, ApiError
from node.cache import Cache


def pod(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"namespace": "ns", "name": name, "resourceVersion": str(version)}}


class FakeApi:
    """Lists and watches as told: each script entry is a list answer, then watch events, then an exception."""

    def __init__(self, script: list[tuple[Any, list[Any], Exception | None]]) -> None:
        self.script = script
        self.since: list[str] = []

    async def list(self, _: Any) -> tuple[list[Any], str]:
        if not self.script:
            await asyncio.Event().wait()
        if isinstance(self.script[0][0], Exception):
            raise self.script.pop(0)[0]
        return self.script[0][0], "1"

    async def watch(self, _: Any, since: str) -> AsyncIterator[Any]:
        self.since.append(since)
        _, events, error = self.script.pop(0)
        for event in events:
            yield event
        if error:
            raise error
        await asyncio.Event().wait()


async def follow(
    script: list[tuple[Any, list[Any], Exception | None]], steps: int
) -> tuple[list[str], Cache, FakeApi]:
    api = FakeApi(script)
    cache = Cache(api, PODS)  # type: ignore[arg-type]
    heard: list[str] = []
    enough = asyncio.Event()

    def listener(key: tuple[str, str]) -> None:
        found = cache.get(key)
        heard.append(f"{key[1]}@{found['metadata']['resourceVersion']}" if found else f"{key[1]} gone")
        if len(heard) == steps:
            enough.set()

    cache.listen(listener)
    task = asyncio.create_task(cache.run())
    await asyncio.wait_for(enough.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return heard, cache, api


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", (0.0,))


def event(kind: str, obj: Any) -> dict[str, Any]:
    return {"type": kind, "object": obj}


async def test_changes_are_told_once_and_in_order() -> None:
    events = [
        event("ADDED", pod("b", 2)),
        event("MODIFIED", pod("a", 3)),
        event("BOOKMARK", pod("", 4)),
        event("DELETED", pod("b", 5)),
    ]
    heard, cache, api = await follow([([pod("a", 1)], events, None)], 4)
    assert heard == ["a@1", "b@2", "a@3", "b gone"]
    assert [each["metadata"]["name"] for each in cache] == ["a"]
    assert api.since == ["1"]


async def test_what_happened_while_away_is_made_up() -> None:
    script = [
        ([pod("a", 1), pod("b", 1)], [], ApiAway("gone")),
        (ApiAway("still"), [], None),
        ([pod("b", 1), pod("c", 7)], [], None),
    ]
    heard, _, _ = await follow(script, 4)
    assert heard == ["a@1", "b@1", "a gone", "c@7"]  # b did not change: nothing is said


@pytest.mark.parametrize(
    "too_old",
    [
        ([pod("a", 1)], [], ApiError(410, "Expired")),
        ([pod("a", 1)], [event("ERROR", {"code": 410, "message": "too old"})], None),
    ],
)
async def test_too_old_lists_again(too_old: Any) -> None:
    heard, _, _ = await follow([too_old, ([pod("a", 9)], [], None)], 2)
    assert heard == ["a@1", "a@9"]


async def test_an_answer_goes_ahead_of_the_watch_but_never_back() -> None:
    cache = Cache(FakeApi([]), PODS)  # type: ignore[arg-type]
    heard: list[Any] = []
    cache.listen(heard.append)
    cache.put(pod("a", 5))
    cache.put(pod("a", 4))
    assert len(heard) == 1
    found = cache.get(("ns", "a"))
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "5"
