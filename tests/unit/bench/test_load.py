"""The generator: it measures what it should, and believes no answer it has not checked."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Iterator

import pytest

from bench.load import Plan, Run, WrongAnswer, checker, measure, percentile
from bench.upstream import answer, listen, payload


class _Lane:
    partial = b""


def _complete(data: list[bytes], body_bytes: int = 20) -> list[bool]:
    lane = _Lane()
    complete = checker(Plan(port=0, host="x", body_bytes=body_bytes))
    return [complete(lane, part) for part in data]


def test_an_answer_is_complete_at_its_last_byte_wherever_it_is_split() -> None:
    whole = answer(20)
    for at in range(1, len(whole)):
        assert _complete([whole[:at], whole[at:]]) == [False, True]


@pytest.mark.parametrize(
    "wrong",
    [
        answer(20).replace(b"200", b"503"),
        answer(20).replace(b"length: 20", b"length: 21"),
        answer(20)[:-1] + b"X",
        answer(20) + b"more",
        answer(20).replace(b"content-length", b"x-other-length"),
    ],
)
def test_a_wrong_answer_ends_the_run(wrong: bytes) -> None:
    with pytest.raises(WrongAnswer):
        _complete([wrong])


def test_percentiles_are_microseconds_by_nearest_rank() -> None:
    ordered = array("q", [n * 1000 for n in range(1, 101)])
    assert [percentile(ordered, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 51, 100, 100]
    assert percentile(array("q"), 0.5) == 0


@pytest.fixture
def app_port() -> Iterator[int]:
    """The bench's own app as a process, as a run has it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with subprocess.Popen([sys.executable, "-m", "bench.upstream", str(port), "100"]) as process:
        try:
            while True:
                with socket.socket() as sock:
                    if sock.connect_ex(("127.0.0.1", port)) == 0:
                        break
            yield port
        finally:
            process.kill()


def test_closed_and_open_loop_count_every_request(app_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(port=app_port, host="x", connections=4, seconds=0.1, warmup=0.05, body_bytes=100)
    closed = measure(plan)
    assert closed["errors"] == 0
    assert closed["requests"] > 20
    assert closed["p50_us"] <= closed["p99_us"] <= closed["max_us"]
    opened = measure(Plan(**{**vars(plan), "rate": 200.0}))
    assert opened["requests"] == 20
    assert opened["requests_per_second"] == pytest.approx(200, rel=0.3)
    assert [json.loads(line) for line in capsys.readouterr().out.split("\n") if line] == [
        {"event": "measuring"}
    ] * 2


def test_an_open_loop_charges_a_stall_to_every_request_it_delayed() -> None:
    """One connection, an app that stalls once for 100 ms: ten requests were due meanwhile, so ten are late."""
    listener = socket.create_server(("127.0.0.1", 0))

    def stalling_app() -> None:
        connection, _ = listener.accept()
        with connection:
            for number in range(30):
                connection.recv(1000)
                if number == 5:
                    threading.Event().wait(0.1)
                connection.sendall(answer(10))

    thread = threading.Thread(target=stalling_app)
    thread.start()
    run = Run(Plan(port=listener.getsockname()[1], host="x", connections=1, rate=100.0, body_bytes=10))
    try:
        run.open_loop(0.3)
    finally:
        run.close()
        thread.join()
        listener.close()
    late = [latency for latency in run.latencies if latency > 15_000_000]
    assert 7 <= len(late) <= 12
    assert max(late) >= 95_000_000


def test_a_closed_connection_is_an_error_not_an_answer() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def closing_app() -> None:
        listener.accept()[0].close()

    thread = threading.Thread(target=closing_app)
    thread.start()
    result = measure(Plan(port=listener.getsockname()[1], host="x", connections=1, warmup=0.01, seconds=0.01))
    thread.join()
    listener.close()
    assert result["errors"] == 1
    assert result["event"] == "done"


def test_the_app_listens_on_loopback_only() -> None:
    with listen(0) as sock:
        assert sock.getsockname()[0] == "127.0.0.1"
    assert len(payload(1024)) == 1024
