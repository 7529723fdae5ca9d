"""The client of a case: sends its requests one after another or together, and notes each answer and how long it took."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from tests.differential.case.apps import encoded, framing
from tests.differential.case.model import Change, Json, ReadStats, Request, Step, Together, Wait
from tests.differential.case.place import Placed
from tests.differential.wire import STEP_S, Ended, Observed, Wire, read_message

LONGEST_S = 3 * STEP_S
FIRST_PORT, PORTS = 61000, 4000
"""Client ports, above those the system gives by itself."""


@dataclass
class Surroundings:
    """What a case's steps reach beyond its own connections.

    `port` maps a service's port number to where its listener is; `change` answers why a sidecar did not take a push, or nothing.
    """

    port: Callable[[Placed, int | None], tuple[str, int]]
    change: Callable[[Placed, Change], Awaitable[str]]
    stats: Callable[[Placed, list[str]], Awaitable[Json]]


@dataclass
class Visitor:
    """Runs the steps of one case; `answers` are in the order in which requests were begun."""

    placed: Placed
    around: Surroundings
    answers: list[Observed] = field(default_factory=list)
    readings: list[Json] = field(default_factory=list)
    _kept: dict[str, Wire] = field(default_factory=dict)
    _connections: int = 0

    @property
    def size(self) -> float:
        """How many requests the case sends, those on kept connections counting half."""
        count = sum(
            request.repeat
            for step in self.placed.case.requests
            for request in getattr(step, "together", [step])
            if isinstance(request, Request)
        )
        return count / 2 if self.placed.case.shares_of_requests else count

    async def run(self) -> None:
        try:
            for step in self.placed.case.requests:
                await self._step(step)
        except* (OSError, aiohttp.ClientError) as failed:
            # Such as an admin page that does not answer: this case has failed, the others go on.
            self.answers.append({"failure": str(failed.exceptions)})
        finally:
            for wire in self._kept.values():
                wire.writer.close()

    async def _step(self, step: Step) -> None:
        if isinstance(step, Wait):
            await asyncio.sleep(step.wait)
        elif isinstance(step, Change):
            if refusal := await self.around.change(self.placed, step):
                self.answers.append({"failure": refusal})
        elif isinstance(step, ReadStats):
            self.readings.append(await self.around.stats(self.placed, step.stats))
        elif isinstance(step, Together):
            await self._together(step.together, step.stagger)
        else:
            await self._together([step], 0)

    async def _together(self, requests: list[Request], stagger_s: float) -> None:
        async with asyncio.TaskGroup() as group:
            for number, request in enumerate(requests):
                if number and stagger_s:
                    await asyncio.sleep(stagger_s)
                group.create_task(self._repeated(request))

    async def _repeated(self, request: Request) -> None:
        left = request.repeat

        async def one_after_another(worker: int) -> None:
            nonlocal left
            # Where only shares count, a connection serves many requests: it costs more than they do.
            kept = f"worker {id(request)} {worker}" if self.placed.case.shares_of_requests else ""
            while left:
                left -= 1
                await self._send(request, request.connection or kept)

        async with asyncio.TaskGroup() as group:
            for worker in range(min(request.at_once, request.repeat)):
                group.create_task(one_after_another(worker))

    async def _send(self, request: Request, connection: str) -> None:
        answer: Observed = {}
        self.answers.append(answer)
        began = time.monotonic()
        try:
            wire = await self._wire(request, connection)
        except OSError as error:
            answer |= {"failure": f"connect: {type(error).__name__}"}
            return
        try:
            async with asyncio.timeout(request.abandon or LONGEST_S):
                await _write(wire, request, self.placed.name)
                answer |= await _final(wire, request)
        except Ended as ended:
            answer |= ended.observed
            answer["failure"] = f"closed: {ended.observed.get('closed')}"
        except TimeoutError:
            answer["failure"] = "abandoned" if request.abandon else "no answer"
        finally:
            answer["took"] = time.monotonic() - began
            if not connection or "failure" in answer or ["connection", "close"] in answer["headers"]:
                wire.writer.close()
                self._kept.pop(connection, None)

    async def _wire(self, request: Request, connection: str) -> Wire:
        if wire := self._kept.get(connection):
            return wire
        self._connections += 1
        source = self.placed.clients[request.source], FIRST_PORT + self._connections % PORTS
        sock = await _connected(source, self.around.port(self.placed, request.to))
        wire = Wire(*await asyncio.open_connection(sock=sock))
        if connection:
            self._kept[connection] = wire
        return wire


async def _connected(source: tuple[str, int], to: tuple[str, int]) -> socket.socket:
    """A connection from this address and port, so that a hash over both falls the same way on both sides."""
    loop = asyncio.get_running_loop()
    for port in (source[1], 0):
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((source[0], port))
            await loop.sock_connect(sock, to)
        except OSError as error:
            sock.close()
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL) or not port:
                raise
        else:
            return sock
    raise AssertionError("the loop returns or raises")


async def _write(wire: Wire, request: Request, host: str) -> None:
    body = request.body
    lines = [
        f"{request.method} {request.path} HTTP/1.1",
        f"host: {host if request.host is None else request.host}",
    ]
    for name, value in request.headers.items():
        lines += [f"{name}: {one}" for one in (value if isinstance(value, list) else [value])]
    data = body.data() if body else b""
    chunked = bool((body and body.chunked) or request.trailers)
    lines += framing(data, chunked, absent=body is None and not chunked)
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    wire.writer.write(head + (encoded(data, chunked, request.trailers) if body or chunked else b""))
    try:
        await wire.writer.drain()
    except OSError:
        pass  # what the sidecar makes of it is seen when reading


async def _final(wire: Wire, request: Request) -> Observed:
    interim = 0
    while True:
        message = await read_message(wire, request=False, bodyless=request.method == "HEAD")
        status = message["line"].split(" ")[1]
        if status[0] != "1" or status == "101":
            return {**message, "interim": interim} if interim else message
        interim += 1
