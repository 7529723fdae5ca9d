"""Keeps the control plane running: starts it, starts it again when it ends, with growing pauses.

Its API and everything it serves inside the mesh belong to it alone; the node only holds the API's listening socket, so that
connections made while it restarts wait instead of failing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path

from node.processes import Child, Processes
from node.restart import BackOff

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5  # seconds; doubled up to MOST_PAUSE, forgotten after twice that of running
MOST_PAUSE = 10.0
API_FD = 3


class ControlPlane:
    """The control plane's process. `argv` may name API_FD for the API's listening socket."""

    def __init__(self, processes: Processes, argv: list[str], api_socket: int, log_path: Path) -> None:
        self._processes = processes
        self._argv = argv
        self._api_socket = api_socket
        self._log_path = log_path
        self._child: Child | None = None

    def __repr__(self) -> str:
        return f"<ControlPlane {self._child}>"

    @property
    def pid(self) -> int:
        return self._child.pid if self._child and self._child.status is None else 0

    async def run(self) -> None:
        """Until cancelled."""
        back_off = BackOff(FIRST_PAUSE, MOST_PAUSE)
        while True:
            begun = time.monotonic()
            self._child = self._start()
            status = await self._child.wait()
            pause = back_off.delay(time.monotonic() - begun)
            log.error("the control plane ended with status %d; again in %g s", status, pause)
            await asyncio.sleep(pause)

    async def stop(self, seconds: float) -> None:
        """SIGTERM, and after `seconds` SIGKILL."""
        if self._child is None:
            return
        self._child.signal_group(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self._child.wait()), seconds)
        except TimeoutError:
            self._child.signal_group(signal.SIGKILL)
            await self._child.wait()

    def _start(self) -> Child:
        output = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            fds = {0: nothing, 1: output, 2: output, API_FD: self._api_socket}
            return self._processes.spawn(self._argv, os.environ, fds)
        finally:
            os.close(output)
            os.close(nothing)


def command(state: Path) -> list[str]:
    """How the control plane is started."""
    return [sys.executable, "-m", "control", "--state", str(state), "--api-fd", str(API_FD)]
