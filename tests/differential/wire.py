"""Dialogues: what one end of a connection does, step by step, and what it saw.

Both ends use the same steps: the client that speaks to a sidecar, and the app behind it. A step that does not happen in
time, or meets a closed connection, becomes an observation like any other, and ends the dialogue.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import struct
from dataclasses import dataclass, field
from typing import Any

STEP_S = 5.0
"""A step that takes longer is recorded as `timeout`; above every timeout a scenario configures."""
SHOWN_BYTES = 200
"""A longer body is recorded as length and digest."""

Observed = dict[str, Any]


class Ended(Exception):
    """The connection ended or stalled inside a step; `observed` says how."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed


@dataclass
class Wire:
    """One connection of either end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str = ""
    """Put in place of `{host}` in what is sent."""

    async def until(self, separator: bytes) -> bytes:
        try:
            return await self.reader.readuntil(separator)
        except asyncio.IncompleteReadError as error:
            raise Ended({"closed": "eof", "partial": text(error.partial)}) from None
        except OSError:
            raise Ended({"closed": "reset", "partial": self._left()}) from None

    async def exactly(self, count: int) -> bytes:
        try:
            return await self.reader.readexactly(count)
        except asyncio.IncompleteReadError as error:
            raise Ended({"closed": "eof", "partial": text(error.partial)}) from None
        except OSError:
            raise Ended({"closed": "reset", "partial": self._left()}) from None

    async def rest(self) -> bytes:
        data = b""
        try:
            while part := await self.reader.read(65536):
                data += part
        except OSError:
            raise Ended({"closed": "reset", "bytes": text(data)}) from None
        return data

    def _left(self) -> str:
        """What arrived before a reset, which the stream keeps to itself."""
        return text(bytes(self.reader._buffer))  # type: ignore[attr-defined]

    def abort(self) -> None:
        """Closes with a reset."""
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the other end was faster
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def text(data: bytes) -> str:
    """Bytes as they are compared: short ones readable, long ones as length and digest."""
    if len(data) <= SHOWN_BYTES:
        return data.decode("latin-1")
    return f"{len(data)} bytes, sha1 {hashlib.sha1(data).hexdigest()}"


def fields(lines: list[bytes]) -> list[list[str]]:
    found = []
    for line in lines:
        name, _, value = line.partition(b":")
        found.append([name.decode("latin-1"), value.strip().decode("latin-1")])
    return found


def values(headers: list[list[str]], name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]


async def _chunked(wire: Wire) -> tuple[bytes, list[list[str]]]:
    body = b""
    while True:
        size = int((await wire.until(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            break
        body += await wire.exactly(size)
        await wire.exactly(2)
    trailers = []
    while (line := (await wire.until(b"\r\n"))[:-2]) != b"":
        trailers.append(line)
    return body, fields(trailers)


async def read_head(wire: Wire) -> Observed:
    """First line and headers."""
    first, *lines = (await wire.until(b"\r\n\r\n"))[:-4].split(b"\r\n")
    return {"line": first.decode("latin-1"), "headers": fields(lines)}


async def read_body(wire: Wire, message: Observed, *, request: bool, bodyless: bool = False) -> Observed:
    """The message with what follows its head; `bodyless` for the answer to HEAD."""
    headers = message["headers"]
    status = 0 if request else int(message["line"].split(" ")[1])
    length = values(headers, "content-length")
    framing = "none"
    body, trailers = b"", []
    try:
        if bodyless or status in (101, 204, 304) or 100 <= status < 200:
            pass
        elif "chunked" in "".join(values(headers, "transfer-encoding")):
            framing = "chunked"
            body, trailers = await _chunked(wire)
        elif length:
            framing = "content-length"
            body = await wire.exactly(int(length[0]))
        elif not request:
            framing = "close"
            body = await wire.rest()
    except Ended as ended:
        raise Ended({**message, "framing": framing, **ended.observed}) from None
    return {**message, "framing": framing, "body": text(body), "trailers": trailers}


async def read_message(wire: Wire, *, request: bool, bodyless: bool = False) -> Observed:
    """One message; `bodyless` for the answer to HEAD."""
    return await read_body(wire, await read_head(wire), request=request, bodyless=bodyless)


@dataclass(frozen=True)
class Step:
    """One thing an end does; `run` returns what it observed, or nothing."""

    async def run(self, wire: Wire) -> Observed | None:
        raise NotImplementedError


@dataclass(frozen=True)
class Send(Step):
    data: bytes

    async def run(self, wire: Wire) -> Observed | None:
        wire.writer.write(self.data.replace(b"{host}", wire.host.encode()))
        try:
            await wire.writer.drain()
        except OSError:
            pass  # what the other end makes of it is seen when reading
        return None


@dataclass(frozen=True)
class Response(Step):
    """Reads the interim answers and the final one; `method` decides whether a body follows."""

    method: str = "GET"

    async def run(self, wire: Wire) -> Observed | None:
        interim = []
        while True:
            message = await read_message(wire, request=False, bodyless=self.method == "HEAD")
            status = message["line"].split(" ")[1]
            if status[0] != "1" or status == "101":
                return {**message, "interim": interim} if interim else message
            interim.append(message)


@dataclass(frozen=True)
class Interim(Step):
    """Reads one answer, which may be an interim one."""

    async def run(self, wire: Wire) -> Observed | None:
        return await read_message(wire, request=False)


@dataclass(frozen=True)
class Request(Step):
    async def run(self, wire: Wire) -> Observed | None:
        return await read_message(wire, request=True)


@dataclass(frozen=True)
class RequestHead(Step):
    """Reads a request's head and leaves its body."""

    async def run(self, wire: Wire) -> Observed | None:
        return await read_head(wire)


@dataclass(frozen=True)
class Bytes(Step):
    count: int

    async def run(self, wire: Wire) -> Observed | None:
        return {"bytes": text(await wire.exactly(self.count))}


@dataclass(frozen=True)
class ToEnd(Step):
    """Reads all that comes until the other end closes its direction."""

    async def run(self, wire: Wire) -> Observed | None:
        return {"closed": "eof", "bytes": text(await wire.rest())}


@dataclass(frozen=True)
class HalfClose(Step):
    async def run(self, wire: Wire) -> Observed | None:
        wire.writer.write_eof()
        return None


@dataclass(frozen=True)
class Close(Step):
    async def run(self, wire: Wire) -> Observed | None:
        wire.writer.close()
        raise Ended({"did": "close"})


@dataclass(frozen=True)
class Reset(Step):
    async def run(self, wire: Wire) -> Observed | None:
        wire.abort()
        raise Ended({"did": "reset"})


@dataclass(frozen=True)
class Pause(Step):
    """Waits; only where the scenario is about time."""

    seconds: float

    async def run(self, wire: Wire) -> Observed | None:
        await asyncio.sleep(self.seconds)
        return None


@dataclass
class Dialogue:
    """Runs steps on a wire and keeps what was observed, also while it is still under way."""

    steps: tuple[Step, ...]
    seen: list[Observed] = field(default_factory=list)

    async def run(self, wire: Wire) -> bool:
        """True when every step happened."""
        for step in self.steps:
            try:
                async with asyncio.timeout(STEP_S):
                    observed = await step.run(wire)
            except TimeoutError:
                self.seen.append({"timeout": type(step).__name__})
                return False
            except Ended as ended:
                self.seen.append(ended.observed)
                return False
            if observed is not None:
                self.seen.append(observed)
        return True
