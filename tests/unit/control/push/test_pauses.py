"""A push to many proxies leaves the loop to others in between, and no proxy with half of anything."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import yaml

from control.compile.compiler import compile_proxy
from control.compile.protobuf import ROUTE
from control.push import proxies
from control.push.connection import Connection
from control.push.manifests import context_of
from control.push.proxies import Proxies
from control.push.proxy import Proxy
from control.server import ControlPlane, Options, Ports

PROXIES = 150
COMPILE_SECONDS = 0.005
Json = dict[str, Any]


def _node(number: int) -> Json:
    metadata = {"NAMESPACE": "default", "SERVICE_ACCOUNT": "web"}
    return {
        "id": f"sidecar~10.1.1.{number}~web-{number}.default~default.svc.cluster.local",
        "metadata": metadata,
    }


def _service(name: str) -> Json:
    meta = {"name": name, "namespace": "default"}
    spec = {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


async def _arrived(_proxy: Proxy) -> None:
    """Nothing to do."""


async def _connect(known: Proxies, number: int) -> Connection:
    request: Any = SimpleNamespace(secure=False)
    return await known.connect(_node(number), request)


async def test_in_a_pause_each_proxy_has_all_of_one_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(proxies, "AT_ONCE", 1)
    old, new = context_of([_service("old")]), context_of([_service("new"), _service("newer")])
    known = Proxies(old, lambda *_: None, _arrived, lambda _: None)
    connections = [await _connect(known, number) for number in range(5)]
    wholes = [compile_proxy(context, connections[0].proxy) for context in (old, new)]
    push = asyncio.create_task(known.use(new))
    states = set()
    while not push.done():
        await asyncio.sleep(0)
        found = [connection.snapshot.resources[ROUTE] for connection in connections]
        assert all(each in [whole[ROUTE] for whole in wholes] for each in found)
        states.add(sum(each == wholes[1][ROUTE] for each in found))
        if len(connections) == 5:
            connections.append(await _connect(known, 9))
            assert connections[5].snapshot.resources[ROUTE] == wholes[1][ROUTE]
    assert len(states) > 3, "there were no pauses"
    assert await push == 5
    assert all(each.snapshot.resources[ROUTE] == wholes[1][ROUTE] for each in connections)
    known.close()


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    listening = socket.create_server(("127.0.0.1", 0))
    made = ControlPlane(Options(tmp_path, listening, address="127.0.0.1", ports=Ports(0, 0, 0, 0)))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def api(plane: ControlPlane, tmp_path: Path) -> AsyncIterator[aiohttp.ClientSession]:
    config = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    root = base64.b64decode(cluster["certificate-authority-data"]).decode()
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=root))
    headers = {"Authorization": f"Bearer {user['token']}"}
    async with aiohttp.ClientSession(cluster["server"], connector=connector, headers=headers) as session:
        yield session


async def test_the_api_answers_while_a_push_is_made(
    plane: ControlPlane, api: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = 0
    compile_parts = proxies.compile_parts

    def slowly(*given: Any) -> Any:
        nonlocal compiled
        compiled += 1
        time.sleep(COMPILE_SECONDS)
        return compile_parts(*given)

    for number in range(PROXIES):
        await _connect(plane.proxies, number)
    monkeypatch.setattr(proxies, "compile_parts", slowly)
    path = "/api/v1/namespaces/default/services"
    async with api.post(path, json={**_service("web"), "spec": {"ports": [{"port": 80}]}}) as answer:
        assert answer.status == 201
    async with asyncio.timeout(10):
        while not compiled:
            await asyncio.sleep(0.001)
    async with api.get(f"{path}/web") as answer:
        assert (await answer.json())["metadata"]["name"] == "web"
        assert compiled < PROXIES, "answered only after the push"
    async with asyncio.timeout(10):
        while compiled < PROXIES:
            await asyncio.sleep(0.001)
