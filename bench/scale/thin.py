"""Many xDS clients in one process that hold no configuration: they poll as our sidecar does, count bytes, and acknowledge.

    python -m bench.scale.thin PLAN SOCKET

PLAN is a JSON file: `port`, `root` (PEM; TLS where there is one) and `clients`, each with `node` and `token`. A client reads the head of each
answer for its version and nonce and lets the rest go, so that what is measured is the control plane. The first line on the Unix socket tells
when they began to connect and when each had (monotonic seconds). Each line sent there, a number N, is answered when every client has
acknowledged N answers more, or after 60 s, with when each did and how many bytes came.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import sys
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_VERSION = re.compile(rb'"version_info":"([^"]*)"')
_NONCE = re.compile(rb'"nonce":"([^"]*)"')
_HEAD = 512  # bytes of an answer that are looked at
_PATIENCE = 60.0  # s
_AT_ONCE = 50  # clients that connect at the same time


@dataclass
class Tally:
    """What all clients saw since it was last taken."""

    acknowledged: list[float] = field(default_factory=list)
    received: list[int] = field(default_factory=list)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> tuple[list[float], list[int]]:
        found = self.acknowledged, self.received
        self.acknowledged, self.received = [], []
        return found


class Client(asyncio.Protocol):
    """One sidecar's poll; it asks again as soon as an answer is whole."""

    def __init__(self, node: dict[str, Any], token: str | None, tally: Tally) -> None:
        self._node = json.dumps(node).encode()
        self._authorization = f"Authorization: Bearer {token}\r\n".encode() if token else b""
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._version = self._nonce = b""
        self._head = b""
        self._left = 0  # bytes of the body that are still to come
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        body = b'{"node":%b,"version_info":"%b","response_nonce":"%b","patches":true}' % (
            self._node,
            self._version,
            self._nonce,
        )
        head = b"POST /v3/discovery:aggregated HTTP/1.1\r\nHost: control\r\nAccept-Encoding: gzip\r\nContent-Length: %d\r\n%b\r\n"
        assert self._transport is not None
        self._transport.write(head % (len(body), self._authorization) + body)

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
            if len(self._head) < _HEAD:
                self._head += data[:_HEAD]
        else:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._head[: end + 2])
            self._size = int(length[1]) if length else 0
            self._left = self._size - (len(self._head) - end - 4)
            self._head = self._head[: _HEAD + end]
        if self._left <= 0:
            self._answered()

    def _answered(self) -> None:
        status = self._head[9:12]
        if status == b"200":
            head, _, body = self._head.partition(b"\r\n\r\n")
            if b"gzip" in head:  # the first member holds what is looked for
                body = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body)
            version, nonce = _VERSION.search(body), _NONCE.search(body)
            assert version, self._head
            assert nonce, self._head
            self._version, self._nonce = version[1], nonce[1]
        elif status != b"304":
            raise SystemExit(self._head.decode(errors="replace"))
        self._head, self._left = b"", 0
        self._ask()
        if status == b"200":
            self._tally.acknowledged.append(time.monotonic())
            self._tally.received.append(self._size)
            self._tally.woken.set()

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None:
            print(f"lost: {error}", file=sys.stderr)


async def connect(plan: dict[str, Any], tally: Tally) -> list[float]:
    """All clients, a few at a time as when pods start; when each had connected, of TLS when its handshake was done."""
    loop, slots = asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)
    context = ssl.create_default_context(cadata=plan["root"]) if plan.get("root") else None

    async def one(client: dict[str, Any]) -> float:
        async with slots:
            await loop.create_connection(
                lambda: Client(client["node"], client.get("token"), tally),
                "127.0.0.1",
                plan["port"],
                ssl=context,
            )
            return time.monotonic()

    return await asyncio.gather(*map(one, plan["clients"]))


async def until(tally: Tally, count: int) -> None:
    """Until that many acknowledgements are in, or patience ends."""
    end = time.monotonic() + _PATIENCE
    while len(tally.acknowledged) < count and (left := end - time.monotonic()) > 0:
        tally.woken.clear()
        try:
            async with asyncio.timeout(left):
                await tally.woken.wait()
        except TimeoutError:
            return


async def main(plan_file: str, path: str) -> None:
    plan = json.loads(Path(plan_file).read_text())
    tally, ended = Tally(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun = time.monotonic()
        connected = await connect(plan, tally)
        writer.write(json.dumps({"begun": begun, "connected": connected}).encode() + b"\n")
        while line := await reader.readline():
            await until(tally, int(line) * len(connected))
            acknowledged, received = tally.take()
            answer = {"acknowledged": acknowledged, "received": received}
            writer.write(json.dumps(answer).encode() + b"\n")
        writer.close()
        ended.set()

    async with await asyncio.start_unix_server(serve, path):
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
