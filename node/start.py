"""Starts a mesh from the host: checks what it needs, makes the published sockets, launches pid 1, writes down what runs.

Decides nothing about the mesh's content. Reference: ARCHITECTURE.md, "On one machine".
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from node import run_state
from node.launch import CannotLaunch, launch
from node.restart import BASE_SECONDS
from node.run_state import RunState

DEFAULT_GATEWAY_PORT = 8080
# Debian keeps the network tools out of an ordinary user's PATH.
SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
TOOLS = {"ip": "iproute2", "iptables": "iptables", "iptables-restore": "iptables", "nsenter": "util-linux"}
LONGEST_SOCKET_PATH = 107  # bytes, sun_path of a Unix socket
API_FD, GATEWAY_FD = 3, 4


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user asked for. `gateway_port` None: 8080, or any free one."""

    state: Path
    gateway_port: int | None
    detached: bool
    back_off: float = BASE_SECONDS  # seconds


def start(wish: Wish) -> RunState:
    """Launches pid 1 and returns what runs; the mesh is not ready yet. Raises CannotLaunch."""
    _check(wish.state)
    previous = run_state.read(wish.state)
    if previous is not None and previous.alive:
        raise CannotLaunch(
            f"a mesh already runs with {wish.state} (pid {previous.pid}); `glassmesh down` ends it"
        )
    _make_directories(wish.state)
    kubeconfig = wish.state / "kubeconfig"
    port = _last_api_port(kubeconfig)
    kubeconfig.unlink(missing_ok=True)  # its return says that this mesh's API is there
    with _api_listener(port) as api, _gateway_listener(wish.gateway_port) as gateway:
        argv = [sys.executable, "-m", "node", "--state", str(wish.state)]
        argv += ["--api-fd", str(API_FD), "--gateway-fd", str(GATEWAY_FD)]
        argv += ["--back-off", str(wish.back_off)]
        pid = launch(argv, {API_FD: api.fileno(), GATEWAY_FD: gateway.fileno()}, node_log(wish.state))
        run = RunState(
            pid=pid,
            start_time=run_state.start_time(pid) or 0,
            boot_id=run_state.boot_id(),
            api_port=api.getsockname()[1],
            gateway_port=gateway.getsockname()[1],
            detached=wish.detached,
        )
    run_state.write(wish.state, run)
    return run


def node_log(state: Path) -> Path:
    return state / "logs" / "node.log"


def _check(state: Path) -> None:
    path = os.environ.get("PATH", os.defpath)
    missing_directories = [d for d in SYSTEM_DIRECTORIES if d not in path.split(":")]
    os.environ["PATH"] = ":".join([path, *missing_directories])
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if missing:
        words = " ".join(missing)
        raise CannotLaunch(f"glassmesh needs {words} (Debian, Ubuntu: sudo apt-get install {words})")
    if len(os.fsencode(state / "node.sock")) > LONGEST_SOCKET_PATH:
        raise CannotLaunch(f"the path {state} is too long for a socket in it: choose another with --state")


def _make_directories(state: Path) -> None:
    """The state holds keys and tokens: it is its owner's alone."""
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("node", "logs"):
        (state / name).mkdir(exist_ok=True)


def _last_api_port(kubeconfig: Path) -> int:
    """The API's port of the last time, so that a terminal with a kubeconfig stays connected; 0 when there was none."""
    try:
        found = re.search(r"server: https://127\.0\.0\.1:(\d+)", kubeconfig.read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


def _api_listener(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=128)
    except OSError:  # taken meanwhile
        return socket.create_server(("127.0.0.1", 0), backlog=128)


def _gateway_listener(port: int | None) -> socket.socket:
    try:
        return socket.create_server(
            ("127.0.0.1", DEFAULT_GATEWAY_PORT if port is None else port), backlog=1024
        )
    except OSError as error:
        if port is not None:
            raise CannotLaunch(
                f"cannot listen on 127.0.0.1:{port} for the gateway: {error.strerror}"
            ) from None
        return socket.create_server(("127.0.0.1", 0), backlog=1024)
