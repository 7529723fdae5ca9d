"""The small HTTP/1.1 server of the pages a sidecar shows about itself: 15000, 15020, 15021, 15090.

Not on the data path. Decides only framing: whole requests in, whole responses out, keep-alive, limits, and a plain 400
for whatever is not HTTP. A handler that raises answers 500 and the connection goes on. Reference: RFC 9112.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote

from proxy import clock
from proxy.observability import logging

MAX_HEAD = 16 * 1024  # bytes
MAX_BODY = 1024 * 1024
IDLE_SECONDS = 120.0
TEXT = "text/plain; charset=UTF-8"
JSON = "application/json"

log = logging.logger("admin")


@dataclass(frozen=True, slots=True)
class Request:
    """One request; header names are lower-cased, `remote` is the caller's IP address."""

    method: str
    path: str
    query: dict[str, str]
    query_string: str
    headers: dict[str, str]
    body: bytes
    remote: str

    @property
    def local(self) -> bool:
        """Whether the caller is on this machine's (this pod's) loopback."""
        return self.remote.startswith("127.") or self.remote in ("::1", "::ffff:127.0.0.1", "")


@dataclass(frozen=True, slots=True)
class Response:
    body: bytes | str = b""
    status: int = 200
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = field(default_factory=tuple)


Handler = Callable[[Request], Response | Awaitable[Response]]

_BACKLOG = 4096  # connections that may wait to be accepted; the kernel allows somaxconn at most


class HttpServer:
    """Serves `handler` on the addresses it was started on."""

    def __init__(self, handler: Handler, name: str, extra_headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._handler = handler
        self._name = name
        self._extra = extra_headers
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()
        self.requests = 0

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the bound address. Raises `OSError` if the port is taken."""
        # An Envoy behind the agent opens a connection per cluster, all at once, and gives up those that wait 5 s.
        # Made here, since asyncio encodes even an IP address with IDNA's tables: 1 MB.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        server = await asyncio.start_server(
            self.serve_connection, sock=sock, limit=MAX_HEAD, backlog=_BACKLOG
        )
        self._servers.append(server)
        bound: tuple[str, int] = server.sockets[0].getsockname()[:2]
        return bound

    async def close(self) -> None:
        """Stop listening and drop the connections."""
        for server in self._servers:
            server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._servers.clear()

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one accepted connection until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (OSError, asyncio.CancelledError):
            pass  # the caller went away, or we stop
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One exchange; False when the connection is to end."""
        peer = writer.get_extra_info("peername")
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                request = await _read_request(reader, peer[0] if isinstance(peer, tuple) else "")
        except (EOFError, TimeoutError):
            return False
        except (ValueError, asyncio.LimitOverrunError) as error:
            too_large = isinstance(error, asyncio.LimitOverrunError)
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST
            refusal = Response(status.phrase, status)
            writer.write(_render(refusal, self._name, self._extra, keep=False, head=False, accept=""))
            await writer.drain()
            return False
        self.requests += 1
        response = await self._answer(request)
        keep = request.headers.get("connection", "").lower() != "close"
        accept = request.headers.get("accept-encoding", "")
        head = request.method == "HEAD"
        writer.write(_render(response, self._name, self._extra, keep=keep, head=head, accept=accept))
        await writer.drain()
        return keep

    async def _answer(self, request: Request) -> Response:
        try:
            answer = self._handler(request)
            return await answer if inspect.isawaitable(answer) else answer
        except asyncio.CancelledError:
            raise
        except Exception:  # a page about the sidecar must never end the sidecar
            log.exception("page %s failed", request.path)
            return Response("Internal Server Error\n", 500)

    def __repr__(self) -> str:
        return f"<HttpServer {self._name} {len(self._connections)} connections>"


async def _read_request(reader: asyncio.StreamReader, remote: str) -> Request:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, version = first.split(" ")  # ValueError: not a request line
    if not version.startswith("HTTP/1.") or not method.isalpha() or not target.startswith("/"):
        raise ValueError("request line")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or not name:
            raise ValueError("header")
        headers[name.lower()] = value.strip()
    path, _, query_string = target.partition("?")
    query = dict(parse_qsl(query_string, keep_blank_values=True))
    return Request(method, unquote(path), query, query_string, headers, await _body(reader, headers), remote)


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise ValueError("chunked requests are not taken here")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY:
        raise ValueError("content-length")
    return await reader.readexactly(int(length))


def _render(
    response: Response,
    server: str,
    extra: tuple[tuple[str, str], ...],
    *,
    keep: bool,
    head: bool,
    accept: str,
) -> bytes:
    body = response.body.encode("utf-8", "replace") if isinstance(response.body, str) else response.body
    status = HTTPStatus(response.status)
    lines = [f"HTTP/1.1 {response.status} {status.phrase}"]
    if response.status != HTTPStatus.NOT_MODIFIED:
        lines.append(f"content-type: {response.content_type}")
    if "gzip" in accept and len(body) > 1024:
        squeezer = zlib.compressobj(6, wbits=31)
        body = squeezer.compress(body) + squeezer.flush()
        lines += ["content-encoding: gzip", "vary: Accept-Encoding"]
    lines += [f"{name}: {value}" for name, value in (*response.headers, *extra)]
    lines += [
        f"content-length: {len(body)}",
        f"date: {clock.http_date.value(clock.wall()).decode()}",
        f"server: {server}",
    ]
    if not keep:
        lines.append("connection: close")
    rendered = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    return rendered if head else rendered + body
