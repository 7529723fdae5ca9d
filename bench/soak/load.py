"""The soak's client: a fixed number of requests of every kind, whatever is answered, and clients that give up.

    python -m bench.soak.load '{"port": …, "requests": 500000, "seconds": 900, "connections": 32}'

A JSON line tells each time another share of the requests is answered, and the last one what was answered in all. It ends by
itself: by count, or when `seconds` have passed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from bench.soak.upstream import content_length, reset

REPORTS = 50
"""How many progress lines a run writes."""
GIVES_UP, PREFLIGHT, POSTS, PARTIAL = 97, 23, 7, 41
"""Every so many requests: the client leaves without waiting; asks for CORS; sends a body; leaves in the middle of one, every
second time with a reset.
"""
USERS = 101
BODY = b"a=" + b"b" * 2046


@dataclass(frozen=True)
class Plan:
    """`host` is the authority; `seconds` bounds the run, and an answer may take 10 s."""

    port: int
    host: str
    requests: int
    seconds: float
    connections: int = 32


class Soak:
    """One run over `plan.connections` lanes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._numbers: Iterator[int] = iter(range(1, plan.requests + 1))
        self._end = time.monotonic() + plan.seconds
        self._step = max(1, plan.requests // REPORTS)
        self.answers: Counter[str] = Counter()
        self._done = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._lane() for _ in range(self._plan.connections)))

    async def _lane(self) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        for number in self._numbers:
            if time.monotonic() > self._end:
                break
            if streams is None:
                streams = await asyncio.open_connection("127.0.0.1", self._plan.port)
            try:
                answer, keep = await asyncio.wait_for(self._exchange(number, *streams), 10)
            except (OSError, EOFError):
                answer, keep = "no answer", False
            except TimeoutError:
                answer, keep = "nothing in 10 s", False
            if not keep:
                streams[1].close()
                streams = None
            self._count(answer)
        if streams is not None:
            streams[1].close()

    async def _exchange(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[str, bool]:
        request = self._request(number)
        if number % PARTIAL == 0:
            writer.write(request + BODY[: len(BODY) // 2])
            await asyncio.sleep(0.0005 * (number % 8))
            if number % (2 * PARTIAL) == 0:
                reset(writer.transport)
            return "left in its body", False
        writer.write(request)
        if number % GIVES_UP == 0:
            await asyncio.sleep(0.001 * (number % 5))
            return "left", False
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
        await reader.readexactly(content_length(head))
        return head[9:12].decode(), b"\r\nconnection: close" not in head

    def _request(self, number: int) -> bytes:
        common = f"host: {self._plan.host}\r\norigin: https://shop.example\r\nx-user: {number % USERS}\r\n"
        if number % PARTIAL == 0:
            return f"POST /partial HTTP/1.1\r\n{common}content-length: {len(BODY)}\r\n\r\n".encode()
        if number % PREFLIGHT == 0:
            return f"OPTIONS /cors HTTP/1.1\r\n{common}access-control-request-method: GET\r\n\r\n".encode()
        if number % POSTS == 0:
            return f"POST /post HTTP/1.1\r\n{common}content-length: {len(BODY)}\r\n\r\n".encode() + BODY
        return f"GET /get?n={number % USERS} HTTP/1.1\r\n{common}\r\n".encode()

    def _count(self, answer: str) -> None:
        self.answers[answer] += 1
        self._done += 1
        if self._done % self._step == 0:
            print(json.dumps({"event": "progress", "done": self._done}), flush=True)


def main(plan: Plan) -> None:
    soak = Soak(plan)
    asyncio.run(soak.run())
    print(json.dumps({"event": "done", "answers": soak.answers, "done": sum(soak.answers.values())}))


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
