"""xDS over HTTP: state of the world per type on Envoy's REST paths, and all types at once for our own sidecar.

Each request is held while the proxy has what it should have, for 30 s at most, then answered 304. Must not know where snapshots come
from: that is `Source`. Both forms serve the same snapshot. Reference: ARCHITECTURE.md; Envoy's xDS REST endpoints.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec
from aiohttp import web
from msgspec.structs import asdict

from control.compile.protobuf import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from control.compile.resource import Resource
from control.push.answer import Answer, partial, whole
from control.push.connection import AGGREGATED, Connection
from control.push.difference import difference
from control.push.proxy import BadNode

HOLD_SECONDS = 30.0
TYPES = {
    "listeners": LISTENER,
    "routes": ROUTE,
    "clusters": CLUSTER,
    "endpoints": ENDPOINT,
    "secrets": SECRET,
}
_MAX_REQUEST = 4 * 1024 * 1024  # bytes


class Source(Protocol):
    """Where connections and their snapshots come from."""

    async def connect(self, node: object, request: web.Request) -> Connection:
        """The connection of a node. Raises BadNode, or an HTTP error for a node that may not ask."""
        ...

    def settled(self, connection: Connection) -> None:
        """Told after each request: the proxy is still there, or its request has ended."""
        ...


class Discovery:
    """The handlers; `routes` are to be added to an application."""

    def __init__(
        self,
        source: Source,
        hold_seconds: float = HOLD_SECONDS,
        on_answer: Callable[[str, Connection], None] | None = None,
        on_refusal: Callable[[str, Connection, str], None] | None = None,
    ) -> None:
        self._source = source
        self._hold = hold_seconds
        self._on_answer = on_answer or (lambda _type, _connection: None)
        self._on_refusal = on_refusal or (lambda _type, _connection, _error: None)
        self._nonce = 0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v3/discovery:aggregated", self._answering(self._aggregated)),
            *(
                web.post(f"/v3/discovery:{path}", self._answering(self._of_type(path, url)))
                for path, url in TYPES.items()
            ),
        ]

    def _answering(
        self, handler: Callable[[Connection, Mapping[str, Any]], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            try:
                message = _decode(await request.read())
                message["accept_encoding"] = request.headers.get("Accept-Encoding", "")
                connection = await self._source.connect(message.get("node"), request)
            except (BadNode, msgspec.DecodeError) as error:
                raise web.HTTPBadRequest(text=str(error)) from error
            async with self._open(connection):
                return await handler(connection, message)

        return answer

    @asynccontextmanager
    async def _open(self, connection: Connection) -> AsyncIterator[None]:
        connection.polls += 1
        connection.seen = time.time()
        try:
            yield
        finally:
            connection.polls -= 1
            connection.seen = time.time()
            self._source.settled(connection)

    def _next_nonce(self) -> str:
        self._nonce += 1
        return f"{self._nonce:x}"

    def _of_type(
        self, path: str, type_url: str
    ) -> Callable[[Connection, Mapping[str, Any]], Awaitable[web.Response]]:
        async def handler(connection: Connection, message: Mapping[str, Any]) -> web.Response:
            names = [str(name) for name in message.get("resource_names") or ()]
            return await self._state_of_the_world(connection, message, type_url, names)

        handler.__name__ = path
        return handler

    async def _state_of_the_world(
        self, connection: Connection, message: Mapping[str, Any], type_url: str, names: list[str]
    ) -> web.Response:
        version, error = str(message.get("version_info") or ""), _error(message)
        exchange = connection.exchange(type_url, names)
        exchange.request(version, error, time.time())
        if exchange.state == "ERROR":
            self._on_refusal(type_url, connection, exchange.error)
        deadline = asyncio.get_running_loop().time() + self._hold
        while True:
            snapshot = connection.snapshot
            current = snapshot.version_of(type_url, names)
            if current != version and not (version and current == exchange.refused):
                break
            if current == version:
                exchange.already_has(version, time.time())
            left = deadline - asyncio.get_running_loop().time()
            if not await connection.wait(left, type_url, names):
                exchange.again = current == exchange.refused
                return web.Response(status=304)
        exchange.answer(current, time.time())
        self._on_answer(type_url, connection)
        head = {"version_info": current, "type_url": type_url, "nonce": self._next_nonce()}
        return _json(_with_resources(head, snapshot.select(type_url, names)))

    async def _aggregated(self, connection: Connection, message: Mapping[str, Any]) -> web.Response:
        version, error = str(message.get("version_info") or ""), _error(message)
        exchange = connection.exchange(*AGGREGATED)
        exchange.request(version, error, time.time())
        if error is not None:
            self._on_refusal("", connection, error)
        if connection.offered is not None and version == connection.offered.version:
            connection.accepted = connection.offered
        deadline = asyncio.get_running_loop().time() + self._hold
        while True:
            current = connection.snapshot
            held_back = error is not None and current.version == exchange.refused
            if current.version != version and not held_back:
                break
            if current.version == version:
                exchange.already_has(version, time.time())
                connection.accepted = connection.offered = current
            if not await connection.wait(deadline - asyncio.get_running_loop().time()):
                return web.Response(status=304)
        exchange.answer(current.version, time.time())
        base = connection.accepted
        connection.offered = current
        self._on_answer("", connection)
        full = base is None or base.version != version
        head = {"version_info": current.version, "nonce": self._next_nonce(), "full": full}
        packed = _takes_gzip(str(message["accept_encoding"]))
        if full or base is None:
            return _encoded(whole(head, current, packed=packed))
        patches = message.get("patches") is True
        return _encoded(partial(head, difference(base, current), patches=patches, packed=packed))


class _Node(msgspec.Struct):
    """What is read of a node; Envoy adds a list of all its extensions, longer than all else and passed over."""

    id: Any = None
    metadata: Any = None
    user_agent_name: Any = None
    locality: Any = None


class _DiscoveryRequest(msgspec.Struct):
    node: _Node | None = None
    version_info: Any = None
    resource_names: list[Any] | None = None
    error_detail: Any = None
    patches: Any = None  # ours: whether a route table may come as what changed of it


def _decode(body: bytes) -> dict[str, Any]:
    """The fields of a DiscoveryRequest. Raises msgspec.DecodeError."""
    message = msgspec.json.decode(body, type=_DiscoveryRequest)
    return {**asdict(message), "node": message.node and asdict(message.node)}


def _error(message: Mapping[str, Any]) -> str | None:
    detail = message.get("error_detail")
    if not detail:
        return None
    return str(detail.get("message") or detail) if isinstance(detail, dict) else str(detail)


_REFUSES = re.compile(r"q=0(\.0{0,3})?")


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether it is named, and not with a quality of 0 (RFC 9110 §12.5.3)."""
    for entry in accept_encoding.lower().split(","):
        coding, _, quality = entry.replace(" ", "").partition(";")
        if coding == "gzip":
            return _REFUSES.fullmatch(quality) is None
    return False


def _joined(resources: list[Resource]) -> bytes:
    return b"[" + b",".join(resource.body for resource in resources) + b"]"


def _with_resources(head: Mapping[str, Any], resources: list[Resource]) -> bytes:
    return (
        json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"resources":' + _joined(resources) + b"}"
    )


def _encoded(answer: Answer) -> web.Response:
    headers = {"Content-Encoding": "gzip"} if answer.packed else None
    return web.Response(body=answer.body, headers=headers, content_type="application/json")


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


def application(discovery: Discovery) -> web.Application:
    app = web.Application(client_max_size=_MAX_REQUEST)
    app.add_routes(discovery.routes())
    return app


def runner(app: web.Application) -> web.AppRunner:
    """Serves an application so that a request whose client has gone ends at once."""
    return web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
