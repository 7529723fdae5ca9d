"""`pods/log`: which container, and what the node answers, passed through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from control.api.errors import ApiError
from control.api.logs import choose_container
from control.api.server import make_app
from control.resources import KINDS
from control.store.sqlite import SqliteStore

HEADERS = {"Authorization": "Bearer t"}
LOG = "/api/v1/namespaces/default/pods/p/log"


def pod(*containers: str, init: tuple[str, ...] = ()) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": name, "image": "i"} for name in containers]}
    if init:
        spec["initContainers"] = [{"name": name, "image": "i"} for name in init]
    return {"metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize(
    ("obj", "wanted", "chosen"),
    [
        (pod("a"), None, "a"),
        (pod("a", "b"), "b", "b"),
        (pod("a", init=("i",)), "i", "i"),
        (pod("a", init=("i",)), None, "a"),
    ],
)
def test_choice(obj: Any, wanted: str | None, chosen: str) -> None:
    assert choose_container(obj, wanted) == chosen


@pytest.mark.parametrize(
    ("obj", "wanted", "message"),
    [
        (pod("a"), "x", "container x is not valid for pod p"),
        (pod("a", "b"), None, "a container name must be specified for pod p, choose one of: [a b]"),
        (
            pod("a", "b", init=("i",)),
            None,
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
        ),
    ],
)
def test_no_choice(obj: Any, wanted: str | None, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        choose_container(obj, wanted)
    assert (caught.value.code, str(caught.value)) == (400, message)


class Node:
    """Stands in for the node: repeats the query, or refuses, or streams until told to stop."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def log(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["container"] == "waiting":
            return web.Response(
                status=400, text='container "waiting" in pod "p" is waiting to start: ContainerCreating'
            )
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(f"{request.path} {sorted(request.query.items())}\n".encode())
        if "follow" in request.query:
            await self.go_on.wait()
            await response.write(b"later\n")
        return response


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node()
    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", made.log)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "node.sock")).start()
    yield made
    await runner.cleanup()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[TestClient]:
    store = SqliteStore(None)
    app = make_app(store, KINDS, admin_token="t", node_socket=tmp_path / "node.sock")
    async with TestClient(TestServer(app), headers=HEADERS) as made:
        body = {"metadata": {"name": "p"}, "spec": pod("a", "waiting")["spec"]}
        async with made.post("/api/v1/namespaces/default/pods", json=body) as answer:
            assert answer.status == 201
        yield made
    store.close()


async def test_passes_query_and_answer(node: Node, client: TestClient) -> None:
    async with client.get(f"{LOG}?container=a&tailLines=5&previous=true&pretty=1") as answer:
        assert answer.status == 200
        expected = "/containerLogs/default/p/a [('previous', 'true'), ('tailLines', '5')]\n"
        assert await answer.text() == expected


async def test_follows(node: Node, client: TestClient) -> None:
    async with asyncio.timeout(5), client.get(f"{LOG}?container=a&follow=true") as answer:
        assert b"follow" in await answer.content.readline()
        node.go_on.set()
        assert await answer.content.readline() == b"later\n"


async def test_refusal_of_the_node(node: Node, client: TestClient) -> None:
    async with client.get(f"{LOG}?container=waiting") as answer:
        status = await answer.json()
    assert (answer.status, status["reason"]) == (400, "BadRequest")
    assert status["message"] == 'container "waiting" in pod "p" is waiting to start: ContainerCreating'


async def test_no_node_and_no_pod(client: TestClient) -> None:
    async with client.get(f"{LOG}?container=a") as answer:
        assert (answer.status, "does not answer" in (await answer.json())["message"]) == (500, True)
    async with client.get("/api/v1/namespaces/default/pods/none/log") as answer:
        assert answer.status == 404
