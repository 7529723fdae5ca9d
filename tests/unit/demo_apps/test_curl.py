"""The client prints and exits as curl does."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from demo_apps import curl, echo
from demo_apps.http_server import Handler

Serve = Callable[[Handler], int]


@pytest.fixture
def url(serve: Serve) -> str:
    return f"http://127.0.0.1:{serve(echo.handle)}"


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_body_then_write_out(url: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert curl.main(["-s", "-w", "%{http_code} %{size_download}\\n", f"{url}/bytes/3"]) == 0
    assert capfdbinary.readouterr().out == b"xxx200 3\n"


def test_own_headers_replace_curls(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    curl.main(["-s", "-H", "Host: reviews", "-H", "Accept:", "-H", "End-User: jason", "-d", "a=b", f"{url}/"])
    report = json.loads(capfd.readouterr().out)
    assert report["headers"][:3] == [
        ["User-Agent", "glassmesh-curl"],
        ["Content-Type", "application/x-www-form-urlencoded"],
        ["Host", "reviews"],
    ]
    assert (report["method"], report["body"]) == ("POST", "a=b")


def test_include_and_verbose(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    curl.main(["-siv", "-o", "/dev/stdout", f"{url}/status/418"])
    shown = capfd.readouterr()
    assert shown.out.startswith("HTTP/1.1 418 I'm a Teapot\r\n")
    assert "> GET /status/418 HTTP/1.1" in shown.err
    assert "< HTTP/1.1 418" in shown.err


def test_repeats_share_a_connection(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert curl.main(["-s", "-o", "/dev/null", "-w", "%{local_port}\\n", "--repeat", "3", f"{url}/"]) == 0
    assert len(set(capfd.readouterr().out.split())) == 1


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["-s", "URL/close"], 52),
        (["-s", "URL/reset"], 56),
        (["-sf", "URL/status/500"], 22),
        (["-s", "-m", "0.05", "URL/delay/2"], 28),
        (["-s", "http://no-such-name.invalid/"], 6),
        (["-s", "ftp://x/"], 3),
        (["-s", "CLOSED/"], 7),
    ],
)
def test_exit_statuses_are_curls(url: str, arguments: list[str], status: int) -> None:
    closed = f"http://127.0.0.1:{closed_port()}"
    assert curl.main([text.replace("URL", url).replace("CLOSED", closed) for text in arguments]) == status


def test_errors_are_printed_unless_silent(capfd: pytest.CaptureFixture[str]) -> None:
    target = f"http://127.0.0.1:{closed_port()}/"
    curl.main([target])
    assert "curl: (7) Failed to connect" in capfd.readouterr().err
    curl.main(["-s", target])
    assert capfd.readouterr().err == ""
    curl.main(["-sS", target])
    assert "curl: (7)" in capfd.readouterr().err


def test_https_verifies_unless_told_not_to(serve: Serve, tmp_path: Path) -> None:
    import ssl
    import threading

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_three() -> None:
            for _ in range(3):
                sock, _ = listener.accept()
                try:
                    with context.wrap_socket(sock, server_side=True) as tls:
                        tls.recv(1000)
                        tls.sendall(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
                except ssl.SSLError:
                    sock.close()

        thread = threading.Thread(target=answer_three)
        thread.start()
        target = f"https://localhost:{listener.getsockname()[1]}/"
        assert curl.main(["-s", target]) == curl.TLS
        assert curl.main(["-sk", target]) == 0
        assert curl.main(["-s", "--cacert", str(tmp_path / "ca.pem"), target]) == 0
        thread.join()
