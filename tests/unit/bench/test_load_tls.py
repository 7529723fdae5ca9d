"""The generator of TLS connections: it shows its certificate, checks every answer, resumes when told to, and sees what is closed."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.load import WrongAnswer
from bench.load_tls import Plan, Run, churn, hold
from bench.pki import Authority, spiffe_id
from bench.upstream import answer


class Server:
    """A TLS server that answers once on each connection, and keeps it or not."""

    def __init__(self, directory: Path, reply: bytes) -> None:
        authority = Authority()
        self.files = {}
        for name, identity in (("server", "app"), ("client", "client")):
            for kind, text in zip(
                ("crt", "key"), authority.issue(spiffe_id("default", identity)), strict=True
            ):
                self.files[f"{name}.{kind}"] = directory / f"{name}.{kind}"
                self.files[f"{name}.{kind}"].write_text(text)
        self.root = directory / "root.pem"
        self.root.write_text(authority.root_pem)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.files["server.crt"], self.files["server.key"])
        self._context.load_verify_locations(self.root)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._reply = reply
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.kept: list[ssl.SSLSocket] = []
        self.peers: list[Any] = []
        self.then_close = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def plan(self, **fields: Any) -> Plan:
        return Plan(
            port=self._listener.getsockname()[1],
            host="x",
            certificate=str(self.files["client.crt"]),
            key=str(self.files["client.key"]),
            root=str(self.root),
            connections=1,
            body_bytes=100,
            **fields,
        )

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            sock = self._context.wrap_socket(raw, server_side=True)
            sock.recv(1000)
            self.peers.append(sock.getpeercert())
            sock.sendall(self._reply)
            self.kept.append(sock)
            if self.then_close:
                sock.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for sock in self.kept:
            sock.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path, answer(100))
    yield found
    found.close()


@pytest.mark.parametrize("resume", [False, True])
def test_new_connections_are_counted_and_resumed_only_when_told(
    server: Server, resume: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    found = churn(Run(server.plan(resume=resume, warmup=0.02, seconds=0.05)))
    assert found["requests"] > 0
    assert found["resumed"] == (found["requests"] if resume else 0)
    assert json.loads(capsys.readouterr().out) == {"event": "measuring"}
    assert server.peers[0]["subjectAltName"] == (("URI", spiffe_id("default", "client")),)


def test_held_connections_stay_open(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(server.plan(hold=5, seconds=0.0))
    assert hold(run)["connections_held"] == 5
    run.close()


def test_a_held_connection_that_was_closed_fails_the_run(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.then_close = True
    run = Run(server.plan(hold=3, seconds=0.05))
    with pytest.raises((WrongAnswer, OSError)):
        hold(run)
    run.close()


def test_a_wrong_answer_ends_the_run(tmp_path: Path) -> None:
    server = Server(tmp_path, answer(100).replace(b"200", b"503"))
    run = Run(server.plan(hold=1))
    try:
        with pytest.raises(WrongAnswer, match="503"):
            hold(run)
    finally:
        server.close()
