"""How many system calls one request costs each sidecar of a real pair, with mutual TLS between them, under `strace`.

One client, one connection, one request after another, so that nothing is shared between requests and the counts are exact. What
timers do meanwhile (the access log is written every second) is less than one call in ten requests.
Reference: docs/performance.md.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bench.children import Children
from bench.compiled import HOST
from bench.machine import Pinning
from bench.peers.glassmesh import WITH_TELEMETRY
from bench.peers.peer import Peer
from bench.sidecars import start_app, start_pair
from bench.workloads.scenes import HTTP

REQUESTS = 500
BODY_BYTES = 1024
REQUEST = f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()
# Calls per request: one to read, one to write and one to wait for each of the two messages, with TLS or without.
ALLOWED = {"recvfrom": 2, "sendto": 2, "epoll_pwait": 2}
# What timers and a growing heap may add in a whole run.
BESIDES = REQUESTS // 4
_CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)")


def _traced(peer: Peer) -> Peer:
    """Its sidecars under strace, which follows them without being their parent."""
    assert peer.command is not None
    command = peer.command
    return dataclasses.replace(
        peer, command=lambda file: ["strace", "-D", "-f", "-o", str(_log(file)), *command(file)]
    )


def _log(bootstrap: Path) -> Path:
    return bootstrap.with_suffix(".strace")


def _calls(log: Path) -> Counter[str]:
    """The system calls so far."""
    lines = log.read_text(errors="replace").splitlines()
    return Counter(match[1] for line in lines if "resumed>" not in line and (match := _CALL.match(line)))


def _why_not(directory: Path) -> str:
    """Why nothing can be traced here; empty if it can."""
    if shutil.which("strace") is None:
        return "needs strace (Debian, Ubuntu: sudo apt-get install strace)"
    argv = ["strace", "-D", "-o", str(directory / "tried"), "true"]
    tried = subprocess.run(argv, capture_output=True, text=True, check=False)
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode else ""


def test_system_calls_per_request(tmp_path: Path) -> None:
    reason = _why_not(tmp_path)
    if reason:
        pytest.skip(reason)
    pins = Pinning(set(), set(), set(), set())
    with Children(tmp_path) as children:
        app_port = start_app(children, HTTP, pins)
        pair = start_pair(children, tmp_path, _traced(WITH_TELEMETRY), HTTP, app_port, pins)
        logs = {role: _log(tmp_path / f"{sidecar.name}.json") for role, sidecar in pair.sidecars.items()}
        assert len(logs) == 2
        with socket.create_connection(("127.0.0.1", pair.port), timeout=10) as sock:
            _ask(sock, 10)
            before = {role: _calls(log) for role, log in logs.items()}
            _ask(sock, REQUESTS)
            found = {role: _calls(log) - before[role] for role, log in logs.items()}
    for role, calls in found.items():
        over = Counter({name: count - ALLOWED.get(name, 0) * REQUESTS for name, count in calls.items()})
        per_request = {name: count / REQUESTS for name, count in calls.most_common()}
        assert sum(count for count in over.values() if count > 0) <= BESIDES, (
            f"{role}: per request {per_request}, allowed are {ALLOWED}"
        )


def _ask(sock: socket.socket, times: int) -> None:
    for _ in range(times):
        sock.sendall(REQUEST)
        data = sock.recv(65536)
        while len(data) < BODY_BYTES or len(data) < data.index(b"\r\n\r\n") + 4 + BODY_BYTES:
            data += sock.recv(65536)
        assert data.startswith(b"HTTP/1.1 200")
