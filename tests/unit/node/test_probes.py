"""Probes against real sockets, and the rhythm of asking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from node.prober import Prober
from node.probes import Answer, ask, port_number
from node.processes import Result

CONTAINER = {"ports": [{"name": "web", "containerPort": 8080}]}


class App:
    """Answers every connection with `answer`, None for silence, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answer: bytes | None = b"HTTP/1.1 200 OK\r\n\r\n"
        self.asked = b""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.asked = await reader.read(4096)
            if self.answer is not None:
                writer.write(self.answer)
            else:
                await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def app() -> AsyncIterator[App]:
    made = App()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await server.wait_closed()


async def no_command(_: list[str], __: float) -> Result:
    raise AssertionError


@pytest.mark.parametrize(
    ("answer", "ok", "text"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True, ""),
        (b"HTTP/1.1 399 Odd\r\n\r\n", True, ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False, "HTTP probe failed with statuscode: 404"),
        (b"HTTP/1.1 500\r\n\r\n", False, "HTTP probe failed with statuscode: 500"),
        (b"SSH-2.0-x\r\n", False, "malformed HTTP response"),
        (b"", False, "malformed HTTP response"),
    ],
)
async def test_http(app: App, answer: bytes, ok: bool, text: str) -> None:
    app.answer = answer
    found = await ask({"httpGet": {"path": "/x", "port": app.port}}, CONTAINER, "127.0.0.1", 5, no_command)
    assert (found.ok, "" if ok else found.text) == (ok, text)


async def test_http_request_is_the_kubelet_s(app: App) -> None:
    headers = [{"name": "Host", "value": "other"}, {"name": "X-A", "value": "b"}]
    probe = {"httpGet": {"path": "health", "port": app.port, "httpHeaders": headers}}
    await ask(probe, CONTAINER, "127.0.0.1", 5, no_command)
    lines = app.asked.decode().split("\r\n")
    assert lines[0] == "GET /health HTTP/1.1"
    assert {"Host: other", "X-A: b", "User-Agent: kube-probe/1.32", "Connection: close"} <= set(lines)


async def test_silence_is_a_failure_after_its_time(app: App) -> None:
    app.answer = None
    found = await ask({"httpGet": {"port": app.port}}, CONTAINER, "127.0.0.1", 0.05, no_command)
    assert (found.ok, found.text) == (False, "context deadline exceeded after 0.05 s")


async def test_tcp(app: App) -> None:
    assert (await ask({"tcpSocket": {"port": app.port}}, CONTAINER, "127.0.0.1", 5, no_command)).ok
    assert not (await ask({"tcpSocket": {"port": 1}}, CONTAINER, "127.0.0.1", 5, no_command)).ok


async def test_exec() -> None:
    async def run(argv: list[str], _: float) -> Result:
        return Result(0 if argv == ["true"] else 2, "why\n")

    assert await ask({"exec": {"command": ["true"]}}, CONTAINER, "", 5, run) == Answer(True, "why")
    assert await ask({"exec": {"command": ["no"]}}, CONTAINER, "", 5, run) == Answer(False, "why")


def test_ports_by_name() -> None:
    assert [port_number(port, CONTAINER) for port in (80, "81", "web")] == [80, 81, 8080]
    with pytest.raises(OSError, match="couldn't find port: no"):
        port_number("no", CONTAINER)


def prober(answers: list[bool], **probes: Any) -> tuple[Prober, list[str]]:
    told: list[str] = []

    async def answer(_: Any, __: float) -> Answer:
        return Answer(answers.pop(0), "because")

    return Prober(probes, answer, told.append), told


FAST = {"periodSeconds": 0.001, "failureThreshold": 2}


async def test_startup_waits_for_the_first_success() -> None:
    subject, told = prober([False, True], startupProbe=FAST)
    assert await subject.started()
    assert told == ["Startup probe failed: because"]


async def test_startup_gives_up() -> None:
    subject, _ = prober([False, False], startupProbe=FAST)
    assert not await subject.started()
    assert await prober([])[0].started()


async def test_liveness_ends_at_its_threshold() -> None:
    subject, told = prober([True, False, True, False, False], livenessProbe=FAST)
    assert await subject.until_dead()
    assert len(told) == 3
    assert not await prober([])[0].until_dead()


async def test_readiness_tells_every_verdict() -> None:
    heard: list[bool] = []
    subject, _ = prober([True, False, False, True], readinessProbe=FAST)
    with pytest.raises(IndexError):  # out of answers
        await subject.watch_readiness(heard.append)
    assert heard == [True, True, False, True]
