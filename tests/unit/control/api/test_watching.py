"""Watches over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp

NS = "/api/v1/namespaces/default"
MERGE = "application/merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def read(api: Any, path: str, count: int, accept: str = "application/json") -> list[tuple[str, Any]]:
    """The first events of a watch; bookmarks are left out unless asked for in the path."""
    events = []
    headers = {"Authorization": "Bearer admin-token", "Accept": accept}
    async with asyncio.timeout(5), api.client.get(path, headers=headers) as answer:
        while len(events) < count and (line := await answer.content.readline()):
            event = json.loads(line)
            events.append((event["type"], event["object"]))
    return events


async def test_from_a_version(api: Any, make: Any) -> None:
    since = (await api("GET", f"{NS}/configmaps"))[1]["metadata"]["resourceVersion"]
    await api("POST", f"{NS}/configmaps", make.config_map(data={"a": "1"}))
    await api("POST", f"{NS}/secrets", {"metadata": {"name": "s"}})
    await api("PATCH", f"{NS}/configmaps/c", {"data": {"a": "2"}}, type=MERGE)
    await api("DELETE", f"{NS}/configmaps/c")
    events = await read(api, f"{NS}/configmaps?watch=1&resourceVersion={since}", 3)
    assert [type_ for type_, _ in events] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in events]
    assert versions == sorted(versions)


async def test_without_a_version_begins_with_what_is_there(api: Any, make: Any) -> None:
    await api("POST", f"{NS}/configmaps", make.config_map())
    events = await read(api, f"{NS}/configmaps?watch=true", 1)
    assert [(t, o["metadata"]["name"]) for t, o in events] == [("ADDED", "c")]


async def test_initial_events_end_with_a_bookmark(api: Any, make: Any) -> None:
    await api("POST", f"{NS}/configmaps", make.config_map())
    query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    events = await read(api, f"{NS}/configmaps?{query}", 2)
    assert [t for t, _ in events] == ["ADDED", "BOOKMARK"]
    assert events[1][1]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_bookmarks_only_where_allowed(api: Any) -> None:
    events = await read(api, f"{NS}/configmaps?watch=1&allowWatchBookmarks=true", 1)
    assert events[0][0] == "BOOKMARK"
    assert await read(api, f"{NS}/configmaps?watch=1&timeoutSeconds=1", 1) == []


async def test_selector_turns_changes_into_additions_and_deletions(api: Any, make: Any) -> None:
    since = (await api("GET", f"{NS}/configmaps"))[1]["metadata"]["resourceVersion"]
    await api("POST", f"{NS}/configmaps", make.config_map())
    for labels in ({"app": "x"}, {"app": "x", "more": "1"}, {"app": None}):
        await api("PATCH", f"{NS}/configmaps/c", {"metadata": {"labels": labels}}, type=MERGE)
    await api("DELETE", f"{NS}/configmaps/c")
    await api("POST", f"{NS}/configmaps", {"metadata": {"name": "end", "labels": {"app": "x"}}})
    events = await read(api, f"{NS}/configmaps?watch=1&resourceVersion={since}&labelSelector=app%3Dx", 4)
    assert [(t, o["metadata"]["name"]) for t, o in events] == [
        ("ADDED", "c"), ("MODIFIED", "c"), ("DELETED", "c"), ("ADDED", "end"),
    ]  # fmt: skip


async def test_expired_version_is_an_error_event(api: Any) -> None:
    api.store._history("configmaps").floor = 5
    events = await read(api, f"{NS}/configmaps?watch=1&resourceVersion=2", 1)
    assert (events[0][0], events[0][1]["code"], events[0][1]["reason"]) == ("ERROR", 410, "Expired")


async def test_tables_name_their_columns_once(api: Any, make: Any) -> None:
    for name in "ab":
        await api("POST", f"{NS}/configmaps", make.config_map(name))
    events = await read(api, f"{NS}/configmaps?watch=1", 2, TABLE)
    assert [bool(table["columnDefinitions"]) for _, table in events] == [True, False]
    assert [table["rows"][0]["cells"][0] for _, table in events] == ["a", "b"]


async def test_shutdown_ends_watches(api: Any, make: Any) -> None:
    await api("POST", f"{NS}/configmaps", make.config_map())
    headers = {"Authorization": "Bearer admin-token"}
    async with asyncio.timeout(5), api.client.get(f"{NS}/configmaps?watch=1", headers=headers) as answer:
        await answer.content.readline()
        closing = asyncio.create_task(api.client.server.close())
        try:
            assert await answer.content.read() == b""
        except aiohttp.ClientPayloadError:
            pass  # the connection was closed before the last chunk
        await closing
