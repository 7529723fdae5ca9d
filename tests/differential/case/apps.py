"""The pods of a case: each listens on its own address, answers by its script, and keeps what it saw."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus

from tests.differential.case.model import Answer, Body, Texts
from tests.differential.case.place import Pod
from tests.differential.wire import Ended, Observed, Wire, read_body, read_head


class RunningPod:
    """Started once per implementation, so that its script begins anew."""

    def __init__(self, pod: Pod, port: int) -> None:
        self.pod = pod
        self._port = port
        self._server: asyncio.Server | None = None
        self._sockets: list[socket.socket] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._counts: dict[str, int] = {}
        self._refusing: str = ""
        self.seen: list[Observed] = []
        self.connections: list[int] = []
        """Requests on each connection, in the order of connections."""

    async def start(self) -> None:
        if self.pod.script.refuse:
            return
        if self.pod.script.silent:
            self._fall_silent()
            return
        self._server = await asyncio.start_server(self._serve, self.pod.listens, self._port, backlog=512)

    def _fall_silent(self) -> None:
        """A full accept queue: further handshakes get no answer."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.pod.listens, self._port))
        listener.listen(0)
        self._sockets.append(listener)
        for _ in range(2):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex((self.pod.listens, self._port))
            self._sockets.append(waiting)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for sock in self._sockets:
            sock.close()
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        wire = Wire(reader, writer)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = len(self.connections)
        self.connections.append(0)
        try:
            if self._turn_away(wire):
                return
            while await self._turn(wire, number):
                pass
        except (OSError, Ended, asyncio.CancelledError):
            pass  # the proxy went away, or the run is over
        finally:
            writer.close()
            self._under_way.discard(task)

    def _turn_away(self, wire: Wire) -> bool:
        """Whether this connection ends at once, as the answer that is next says."""
        answer = self._next("", peek=True)
        if answer.fail not in ("accept-close", "accept-reset"):
            return False
        self._next("")
        if answer.fail == "accept-reset":
            wire.abort()
        return True

    def _next(self, path: str, *, peek: bool = False) -> Answer:
        plain = path.partition("?")[0]
        script = self.pod.script.paths.get(plain)
        key = plain if script is not None else ""
        turns = script if script is not None else self.pod.script.script
        count = self._counts.get(key, 0)
        if not peek:
            self._counts[key] = count + 1
        return turns[min(count, len(turns) - 1)]

    async def _turn(self, wire: Wire, number: int) -> bool:
        """One request and its answer; False when the connection is to end."""
        try:
            record = await read_head(wire)
        except Ended:
            return False
        self.connections[number] += 1
        self.seen.append(record)
        method, path = record["line"].split(" ")[:2]
        answer = self._next(path)
        if not answer.early:
            await _body(wire, record)
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if answer.fail is not None:
            return await self._fail(answer, wire)
        await _send(wire, *self._encoded(answer, method == "HEAD"), answer.pause)
        if answer.early:
            await _body(wire, record)
        return not answer.close

    async def _fail(self, answer: Answer, wire: Wire) -> bool:
        if answer.fail == "never":
            await wire.reader.read()
        elif answer.fail == "reset":
            wire.abort()
        elif answer.fail in ("half", "half-reset", "half-head"):
            head, body = self._encoded(answer, False)
            half = head[: len(head) // 2] if answer.fail == "half-head" else head + body[: len(body) // 2]
            await _send(wire, half, b"", 0)
            await asyncio.sleep(0.05)  # so that what was sent is read before the end is seen
            if answer.fail == "half-reset":
                wire.abort()
        return False

    def _encoded(self, answer: Answer, bodyless: bool) -> tuple[bytes, bytes]:
        if answer.raw is not None:
            return answer.raw.encode("latin-1"), b""
        body = answer.body if answer.body is not None else Body(text=self.pod.name)
        status = str(answer.status)
        if " " not in status:
            status = f"{status} {_phrase(int(status))}"
        empty = status[:3] in ("204", "304") or status[0] == "1"
        data = b"" if empty else body.data()
        lines = [f"HTTP/1.1 {status}", *_lines(answer.headers)]
        lines += framing(data, body.chunked or bool(answer.trailers), absent=empty)
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return head, b"" if bodyless else encoded(data, body.chunked, answer.trailers)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Odd"


def _lines(headers: Texts) -> list[str]:
    found = []
    for name, value in headers.items():
        found += [f"{name}: {one}" for one in (value if isinstance(value, list) else [value])]
    return found


def framing(data: bytes, chunked: bool, *, absent: bool = False) -> list[str]:
    """The header that says where a body ends."""
    if absent:
        return []
    return ["transfer-encoding: chunked"] if chunked else [f"content-length: {len(data)}"]


def encoded(data: bytes, chunked: bool, trailers: Texts) -> bytes:
    """A body as it goes on the wire, in chunks of 4096 bytes."""
    if not chunked and not trailers:
        return data
    parts = [data[at : at + 4096] for at in range(0, len(data), 4096)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    tail = "".join(f"{line}\r\n" for line in _lines(trailers))
    return chunks + b"0\r\n" + tail.encode("latin-1") + b"\r\n"


async def _body(wire: Wire, record: Observed) -> None:
    """Reads the body and notes it, also when it ends early."""
    try:
        record |= await read_body(wire, record, request=True)
    except Ended as ended:
        record |= {"body": ended.observed.get("partial", ""), "cut": True}
        raise


async def _send(wire: Wire, head: bytes, body: bytes, pause_s: float) -> None:
    wire.writer.write(head if pause_s else head + body)
    if pause_s:
        await wire.writer.drain()
        await asyncio.sleep(pause_s)
        wire.writer.write(body)
    await wire.writer.drain()
