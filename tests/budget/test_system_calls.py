"""How many system calls one request costs each sidecar of a real pair, with mutual TLS between them, under `strace`.

One client, one connection, one request after another, so that nothing is shared between requests and the counts are exact. What
timers do meanwhile (the access log is written every second) is less than one call in ten requests.
Reference: docs/performance.md.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.bootstrap import bootstrap
from bench.children import Children, wait_until
from bench.compiled import HOST, client_snapshot, server_snapshot
from bench.pki import Authority
from bench.ports import free_ports
from bench.sidecars import CLIENT_NODE, ENVIRONMENT, SERVER_NODE, answers, listening
from bench.xds_server import StaticXds

REQUESTS = 500
BODY_BYTES = 1024
REQUEST = f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode()
# Calls per request: towards the plaintext side one read and one write; on the TLS side one write, and two reads because OpenSSL asks for
# a record's head before its rest; and one wait for each of the two messages.
ALLOWED = {"recvfrom": 1, "sendto": 1, "read": 2, "write": 1, "epoll_pwait": 2}
# What timers and a growing heap may add in a whole run.
BESIDES = REQUESTS // 4
_CALL = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+)")


@contextmanager
def _xds(snapshots: dict[str, object]) -> Iterator[int]:
    """The port of an xDS server that runs meanwhile."""
    server = StaticXds(snapshots)  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class Traced:
    """A sidecar under strace, which follows it without being its parent."""

    def __init__(
        self, children: Children, directory: Path, role: str, xds_port: int, admin_port: int
    ) -> None:
        self.log = directory / f"{role}.strace"
        node = CLIENT_NODE if role == "client" else SERVER_NODE
        file = directory / f"{role}.json"
        file.write_text(json.dumps(bootstrap(node, admin_port, xds_port)))
        trace = ["strace", "-D", "-f", "-o", str(self.log)]
        argv = [*trace, sys.executable, "-m", "proxy", "-c", str(file)]
        self.child = children.start(role, argv, env=ENVIRONMENT)

    def calls(self) -> Counter[str]:
        """The system calls so far."""
        lines = self.log.read_text(errors="replace").splitlines()
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
    client, server, app_port, client_admin, server_admin = free_ports(5)
    authority = Authority()
    snapshots = {
        CLIENT_NODE: client_snapshot(client, server, False, authority),
        SERVER_NODE: server_snapshot(server, app_port, False, authority),
    }
    with _xds(snapshots) as xds_port, Children(tmp_path) as children:
        app = children.start(
            "app", [sys.executable, "-m", "bench.upstream", str(app_port), str(BODY_BYTES)], env=ENVIRONMENT
        )
        traced = {
            "client": Traced(children, tmp_path, "client", xds_port, client_admin),
            "server": Traced(children, tmp_path, "server", xds_port, server_admin),
        }
        needed = [app, *(one.child for one in traced.values())]
        wait_until("all listen", lambda: all(map(listening, (client, server, app_port))), needed)
        wait_until("an answer", lambda: answers(client, HOST), needed)
        with socket.create_connection(("127.0.0.1", client), timeout=10) as sock:
            _ask(sock, 10)
            before = {role: one.calls() for role, one in traced.items()}
            _ask(sock, REQUESTS)
            found = {role: one.calls() - before[role] for role, one in traced.items()}
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
