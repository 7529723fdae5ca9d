"""Whatever changes, in whichever order, refused or not: our sidecar's increments and Envoy's state of the world are one snapshot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.compile.part import Part
from control.compile.protobuf import CLUSTER, ENDPOINT, ROUTE
from control.compile.resource import Piece, Resource, resource, table
from control.push import discovery
from control.push.connection import Connection
from control.push.difference import patch
from control.push.discovery import Discovery
from control.push.proxy import Proxy
from control.push.snapshot import Snapshot
from proxy.observability.stats import StatsStore
from proxy.xds.client import XdsClient
from proxy.xds.http_client import HttpClient, Response
from proxy.xds.resources import Resources

Json = dict[str, Any]
NAMES = ["a", "b", "c"]
HOSTS = st.lists(
    st.tuples(st.sampled_from("hijklm"), st.integers(0, 2)), max_size=6, unique_by=lambda h: h[0]
)
VALUES = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2), max_size=3)
STATE = st.fixed_dictionaries(
    {
        "clusters": VALUES,
        "endpoints": VALUES,
        "routes": st.dictionaries(st.sampled_from(["80", "81"]), st.tuples(st.integers(0, 1), HOSTS)),
        "own": VALUES,
    }
)


def _table(name: str, content: tuple[int, Sequence[tuple[str, int]]]) -> Resource:
    frame, hosts = content
    message = {"@type": ROUTE, "name": name, "virtual_hosts": [], "validate_clusters": bool(frame)}
    pieces = [
        Piece({"name": host, "domains": [f'{host}"virtual_hosts":[', str(value)]}) for host, value in hosts
    ]
    return table(message, pieces)


def _snapshot(state: Json) -> Snapshot:
    """What is shared in one part, what is the proxy's own in another."""

    def of(values: dict[str, int], url: str, key: str) -> dict[str, Resource]:
        return {name: resource({"@type": url, key: name, "value": value}) for name, value in values.items()}

    shared = {
        CLUSTER: of(state["clusters"], CLUSTER, "name"),
        ENDPOINT: of(state["endpoints"], ENDPOINT, "cluster_name"),
        ROUTE: {name: _table(name, content) for name, content in state["routes"].items()},
    }
    own = {f"own-{name}": value for name, value in state["own"].items()}
    return Snapshot([Part(shared), Part({CLUSTER: of(own, CLUSTER, "name")})])


class Straight(HttpClient):
    """Hands requests to the handler itself."""

    def __init__(self, server: Discovery, connection: Connection, accepts: str, patches: bool) -> None:
        super().__init__("control", 15010)
        self._server, self._connection = server, connection
        self._accepts, self._patches = accepts, patches
        self.answers: list[Json] = []

    async def request(self, method: str, path: str, body: bytes = b"", **_: Any) -> Response:
        message = {**discovery._decode(body), "patches": self._patches, "accept_encoding": self._accepts}
        answer = await self._server._aggregated(self._connection, message)
        content = bytes(answer.body) if isinstance(answer.body, bytes) else b""
        headers = {name.lower(): value for name, value in answer.headers.items()}
        found = _unpacked(Response(answer.status, headers, content))
        self.answers.append(json.loads(found.body or b"{}"))
        return found


def _unpacked(response: Response) -> Response:
    from proxy.xds.http_client import _unpacked as unpack  # what `HttpClient.request` does last

    return unpack(response, None)


def _held(resources: Resources) -> Json:
    return {
        url: {name: bytes(one.raw) for name, one in found.items()}
        for url, found in resources.items()
        if found
    }


def _wanted(snapshot: Snapshot) -> Json:
    """By Envoy's form: each type whole."""
    return {
        url: {one.name: one.body for one in found}
        for url in (CLUSTER, ENDPOINT, ROUTE)
        if (found := snapshot.select(url, ()))
    }


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(STATE, st.booleans()), min_size=1, max_size=6),
    st.sampled_from(["", "gzip"]),
    st.booleans(),
)
def test_both_forms_give_the_same_snapshot(
    states: list[tuple[Json, bool]], accepts: str, patches: bool
) -> None:
    asyncio.run(_follow(states, accepts, patches))


async def _follow(states: list[tuple[Json, bool]], accepts: str, patches: bool) -> None:
    proxy = Proxy("id", "sidecar", "", "a", "b", {}, "", False, {})
    connection = Connection(proxy, _snapshot(states[0][0]), 0, 0)
    refuses = False

    def apply(_resources: Resources, _version: str) -> None:
        if refuses:
            raise ValueError("no")

    http = Straight(Discovery(None, hold_seconds=0), connection, accepts, patches)  # type: ignore[arg-type]
    client = XdsClient(http, {"id": "id"}, apply, StatsStore())
    refused = ""
    for state, refuses in states:
        snapshot = _snapshot(state)
        before = _held(client.resources)
        connection.replace(snapshot)
        await client.poll()
        if client.version == snapshot.version:
            assert _held(client.resources) == _wanted(snapshot)
        else:
            # What was refused is not sent again.
            assert refuses or snapshot.version == refused
            assert _held(client.resources) == before  # the last good one goes on
            refused = snapshot.version
    refuses = False
    last = _snapshot({**states[-1][0], "own": {"a": 9}})
    connection.replace(last)
    await client.poll()
    assert (client.version, _held(client.resources)) == (last.version, _wanted(last))


def test_a_patch_tells_ranges_of_what_stays() -> None:
    old: Any = _table("80", (0, [("h", 0), ("i", 0), ("j", 0), ("k", 0)]))
    new: Any = _table("80", (0, [("h", 0), ("i", 1), ("j", 0), ("k", 0)]))
    found = msgspec.json.decode(patch(old, new))
    assert [entry if isinstance(entry, list) else entry["name"] for entry in found["virtual_hosts"]] == [
        [0, 1],
        "i",
        [2, 4],
    ]


def test_a_control_plane_that_began_anew_tells_everything() -> None:
    async def scenario() -> None:
        proxy = Proxy("id", "sidecar", "", "a", "b", {}, "", False, {})
        one = _snapshot({"clusters": {"a": 0}, "endpoints": {}, "routes": {}, "own": {}})
        two = _snapshot({"clusters": {"a": 0, "b": 0}, "endpoints": {}, "routes": {}, "own": {}})
        http = Straight(Discovery(None, hold_seconds=0), Connection(proxy, one, 0, 0), "", True)  # type: ignore[arg-type]
        client = XdsClient(http, {"id": "id"}, lambda *_: None, StatsStore())
        await client.poll()
        http._connection = Connection(proxy, two, 0, 0)
        await client.poll()
        assert [answer["full"] for answer in http.answers] == [True, True]
        assert _held(client.resources) == _wanted(two)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("accepts", "takes"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip; q=0", False),
        ("gzip;q=0.00", False),
        ("identity", False),
        ("notgzip", False),
        (";,;gzip=,", False),
        ("", False),
    ],
)
def test_who_takes_gzip(accepts: str, takes: bool) -> None:
    assert discovery._takes_gzip(accepts) is takes
