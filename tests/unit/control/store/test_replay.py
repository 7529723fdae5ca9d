"""The property every client relies on: a list plus the events after it is the state, whenever one starts watching."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control.resources.kind import Kind
from control.store.interface import AlreadyExists, NotFound
from control.store.sqlite import SqliteStore

CONFIG = Kind("", ("v1",), "ConfigMap", "configmaps")
SECRET = Kind("", ("v1",), "Secret", "secrets")
Step = tuple[str, Kind, str, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(["create", "update", "delete"]),
        st.sampled_from([CONFIG, SECRET]),
        st.sampled_from(["a", "b", "c"]),
        st.integers(0, 3),
    ),
    max_size=30,
)


async def write(store: SqliteStore, step: Step) -> None:
    action, kind, name, value = step
    obj = {"metadata": {"name": name, "namespace": "n"}, "data": {"v": value}}
    try:
        if action == "delete":
            await store.delete(kind, "n", name)
        else:
            await getattr(store, action)(kind, obj)
    except (AlreadyExists, NotFound):
        pass


async def follow(store: SqliteStore, last: asyncio.Future[int]) -> dict[str, Any]:
    """List, then apply events until the last write's version is reached."""
    listed, since = await store.list(CONFIG)
    state = {o["metadata"]["name"]: o for o in listed}
    watch = store.watch(CONFIG, since)
    while not (last.done() and since >= last.result()):
        event = await anext(watch)
        since = int(event.object["metadata"]["resourceVersion"])
        name = event.object["metadata"].get("name")
        if event.type == "BOOKMARK":
            continue
        assert (event.type == "ADDED") == (name not in state)
        if event.type == "DELETED":
            del state[name]
        else:
            state[name] = event.object
    await watch.aclose()
    return state


@settings(max_examples=40, deadline=None)
@given(steps, st.data())
def test_list_and_watch_replay_to_the_same_state(script: list[Step], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(script)))

    async def run() -> None:
        store = SqliteStore(None, bookmark_seconds=0.001)
        last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        for step in script[:start]:
            await write(store, step)
        follower = asyncio.create_task(follow(store, last))
        for step in script[start:]:
            await write(store, step)
        last.set_result(store.version)
        state = await asyncio.wait_for(follower, 5)
        assert state == {o["metadata"]["name"]: o for o in (await store.list(CONFIG))[0]}
        store.close()

    asyncio.run(run())
