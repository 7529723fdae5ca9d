"""Versions, uids, conflicts, watches."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest

from control.resources.kind import Kind
from control.store.interface import AlreadyExists, Conflict, Expired, NotFound
from control.store.sqlite import SqliteStore

CONFIG = Kind("", ("v1",), "ConfigMap", "configmaps")
OTHER = Kind("", ("v1",), "Secret", "secrets")


def obj(name: str, namespace: str = "default", **parts: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        **parts,
    }


async def test_create_gives_identity(store: SqliteStore) -> None:
    made = await store.create(CONFIG, obj("a", data={"k": "v"}))
    meta = made["metadata"]
    assert meta["uid"]
    assert meta["creationTimestamp"].endswith("Z")
    assert meta["generation"] == 1
    assert meta["resourceVersion"] == str(store.version)
    assert await store.get(CONFIG, "default", "a") is made


async def test_versions_rise_over_all_kinds(store: SqliteStore) -> None:
    first = await store.create(CONFIG, obj("a"))
    second = await store.create(OTHER, obj("a"))
    third = await store.delete(CONFIG, "default", "a")
    versions = [int(o["metadata"]["resourceVersion"]) for o in (first, second, third)]
    assert versions == sorted(set(versions))


async def test_create_twice(store: SqliteStore) -> None:
    await store.create(CONFIG, obj("a"))
    with pytest.raises(AlreadyExists):
        await store.create(CONFIG, obj("a"))
    await store.create(CONFIG, obj("a", "other"))


async def test_missing(store: SqliteStore) -> None:
    for call in (
        store.get(CONFIG, "default", "a"),
        store.update(CONFIG, obj("a")),
        store.delete(CONFIG, None, "a"),
    ):
        with pytest.raises(NotFound):
            await call


async def test_update_keeps_identity_and_counts_generations(store: SqliteStore) -> None:
    made = await store.create(CONFIG, obj("a", spec={"x": 1}))
    changed = await store.update(CONFIG, obj("a", spec={"x": 2}))
    labelled = await store.update(
        CONFIG, {**changed, "metadata": {**changed["metadata"], "labels": {"l": "1"}}}
    )
    reported = await store.update(CONFIG, {**labelled, "status": {"ok": True}})
    assert [o["metadata"]["generation"] for o in (made, changed, labelled, reported)] == [1, 2, 2, 2]
    assert len({o["metadata"]["uid"] for o in (made, changed, labelled, reported)}) == 1


async def test_update_that_changes_nothing_writes_nothing(store: SqliteStore) -> None:
    made = await store.create(CONFIG, obj("a", data={"k": "v"}))
    before = store.version
    assert await store.update(CONFIG, obj("a", data={"k": "v"})) is made
    assert store.version == before


async def test_what_an_update_leaves_alone_is_held_once(store: SqliteStore) -> None:
    """A Pod's status changes a dozen times in its life; the history must not hold a dozen of its spec."""
    parts: dict[str, Any] = {"spec": {"containers": [{"args": ["a"]}, {"args": ["b"]}]}, "status": {"n": 1}}
    first = await store.create(CONFIG, obj("a", **copy.deepcopy(parts)))
    parts["status"]["n"] = 2
    reported = await store.update(CONFIG, obj("a", **copy.deepcopy(parts)))
    assert reported["spec"] is first["spec"]
    assert reported["metadata"] is not first["metadata"]
    parts["spec"]["containers"][1]["args"] = ["b", "c"]
    changed = await store.update(CONFIG, obj("a", **copy.deepcopy(parts)))
    assert changed["spec"] == parts["spec"]
    assert changed["spec"]["containers"][0] is first["spec"]["containers"][0]
    assert first["spec"]["containers"][1] == {"args": ["b"]}
    assert [o["metadata"]["generation"] for o in (first, reported, changed)] == [1, 1, 2]


@pytest.mark.parametrize("stale", [{"resourceVersion": "1"}, {"uid": "someone else's"}])
async def test_stale_update_conflicts(store: SqliteStore, stale: dict[str, str]) -> None:
    await store.create(CONFIG, obj("a"))
    with pytest.raises(Conflict, match="the object has been modified"):
        await store.update(CONFIG, {"metadata": {"name": "a", "namespace": "default", **stale}})
    with pytest.raises(Conflict):
        await store.delete(CONFIG, "default", "a", "1")


async def test_of_many_writers_from_one_version_one_wins(store: SqliteStore) -> None:
    made = await store.create(CONFIG, obj("a"))
    writes = (store.update(CONFIG, {**made, "data": {"n": str(n)}}) for n in range(20))
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert sum(isinstance(result, Conflict) for result in results) == 19


async def test_list_is_ordered_and_scoped(store: SqliteStore) -> None:
    for namespace, name in (("b", "1"), ("a", "2"), ("a", "1")):
        await store.create(CONFIG, obj(name, namespace))
    everything, version = await store.list(CONFIG)
    assert [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in everything] == [
        ("a", "1"),
        ("a", "2"),
        ("b", "1"),
    ]
    assert version == store.version
    assert [o["metadata"]["name"] for o in (await store.list(CONFIG, "b"))[0]] == ["1"]


async def take(watch: Any, count: int) -> list[tuple[str, str]]:
    found = []
    async with asyncio.timeout(5):
        async for event in watch:
            found.append((event.type, event.object["metadata"].get("name", "")))
            if len(found) == count:
                break
    await watch.aclose()
    return found


async def test_watch_replays_and_then_follows(store: SqliteStore) -> None:
    start = store.version
    await store.create(CONFIG, obj("a"))
    following = asyncio.create_task(take(store.watch(CONFIG, start), 3))
    await asyncio.sleep(0)
    await store.create(OTHER, obj("not mine"))
    await store.update(CONFIG, obj("a", data={"k": "v"}))
    await store.delete(CONFIG, "default", "a")
    assert await following == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_watch_of_one_namespace(store: SqliteStore) -> None:
    start = store.version
    for namespace in ("x", "y"):
        await store.create(CONFIG, obj("a-" + namespace, namespace))
    assert await take(store.watch(CONFIG, start, "y"), 1) == [("ADDED", "a-y")]


async def test_quiet_watch_gets_bookmarks_at_the_current_version() -> None:
    store = SqliteStore(None, bookmark_seconds=0.001)
    await store.create(OTHER, obj("a"))
    watch = store.watch(CONFIG, 0 + store.version)
    async for event in watch:
        assert event.type == "BOOKMARK"
        assert event.object["metadata"]["resourceVersion"] == str(store.version)
        break
    await watch.aclose()
    store.close()


async def test_watch_from_forgotten_history_expires() -> None:
    store = SqliteStore(None, history=2)
    for n in range(10):
        await store.create(CONFIG, obj(str(n)))
    with pytest.raises(Expired):
        await anext(store.watch(CONFIG, 2))
    store.close()


async def test_reopened_store_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    made = await store.create(CONFIG, obj("kept", data={"ä": "ü"}))
    await store.create(CONFIG, obj("gone"))
    await store.delete(CONFIG, "default", "gone")
    last = store.version
    store.close()
    store = SqliteStore(path)
    assert store.version == last
    assert (await store.list(CONFIG)) == ([made], last)
    assert int((await store.create(CONFIG, obj("new")))["metadata"]["resourceVersion"]) == last + 1
    with pytest.raises(Expired):
        await anext(store.watch(CONFIG, last - 1))
    store.close()


async def test_a_watch_is_cancelled_even_when_a_change_meets_it(store: SqliteStore) -> None:
    async def follow() -> None:
        async for _ in store.watch(CONFIG, store.version):
            pass

    for number in range(20):
        watching = asyncio.create_task(follow())
        await asyncio.sleep(0)
        creating = asyncio.create_task(store.create(CONFIG, obj(f"c{number}")))
        assert store._next_change() is not None
        store._next_change().add_done_callback(lambda _, task=watching: task.cancel())
        await creating
        await asyncio.wait({watching}, timeout=5)
        assert watching.cancelled()
