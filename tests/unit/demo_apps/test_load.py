"""The small load sends exactly what it was asked for and counts what came."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from demo_apps import echo, load
from demo_apps.http_client import parse_url
from demo_apps.http_server import Handler, Request, Response

Serve = Callable[[Handler], int]


def url(port: int, path: str = "/") -> str:
    return f"http://127.0.0.1:{port}{path}"


def test_counts_codes_and_a_field(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERVICE_VERSION", "v7")
    port = serve(echo.handle)
    assert load.main(["-c", "2", "-n", "20", "--field", "service_version", url(port)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["Code 200 : 20 (100.0%)", "v7 : 20 (100.0%)"]
    assert lines[2].startswith("All done 20 calls, ")


def test_shares_of_different_answers(serve: Serve) -> None:
    turns = iter(range(1000))
    tally = load.Load(
        parse_url(url(serve(lambda _: Response(status=503 if next(turns) % 4 == 0 else 200)))), 40, []
    ).run(1)
    assert tally.codes == {"200": 30, "503": 10}
    assert "Code 503 : 10 (25.0%)" in str(tally)


def test_connections_are_at_once_and_kept(serve: Serve) -> None:
    barrier = threading.Barrier(3, timeout=10)
    peers = set()

    def handle(request: Request) -> Response:
        peers.add(request.peer)
        barrier.wait()  # passes only when three are asking at the same time
        return Response()

    tally = load.Load(parse_url(url(serve(handle))), 9, [("x-a", "b")]).run(3)
    assert tally.codes == {"200": 9}
    assert len(peers) == 3


def test_no_answer_is_an_error_and_the_next_request_gets_a_new_connection(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load.main(["-n", "3", url(serve(echo.handle), "/close")]) == 1
    assert capsys.readouterr().out.startswith("Code error : 3 (100.0%)")


@pytest.mark.parametrize("bad", ["https://x/", "ftp://x/"])
def test_other_schemes_are_refused(bad: str) -> None:
    with pytest.raises(SystemExit):
        load.main([bad])
