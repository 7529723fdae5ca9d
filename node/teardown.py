"""Ends a running mesh from outside: asks pid 1, waits, insists.

Signals go through a pidfd whose process was checked to be the one written down, so no other process can be hit. When pid 1 is gone the
kernel has ended every process of the mesh; with them go its namespaces, links and rules.
"""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path

from node import run_state
from node.run_state import RunState

ORDERLY_SECONDS = 10.0
KILL_SECONDS = 10.0


class CannotEnd(Exception):
    """The mesh is not ours to end, or does not end; the text is one line."""


@dataclass(frozen=True, slots=True)
class Handle:
    """Pid 1 of a mesh, by pidfd."""

    pidfd: int

    def signal(self, number: int) -> None:
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass  # it ended
        except PermissionError:
            raise CannotEnd("the mesh was started by another user") from None

    def wait(self, seconds: float | None) -> bool:
        """Whether it has ended within `seconds`; None waits as long as it takes."""
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def close(self) -> None:
        os.close(self.pidfd)


def handle(run: RunState) -> Handle | None:
    """The mesh's pid 1, if it runs."""
    try:
        pidfd = os.pidfd_open(run.pid)
    except OSError:
        return None
    if run.alive:  # checked after opening: from here on the descriptor means this process
        return Handle(pidfd)
    os.close(pidfd)
    return None


def end(running: Handle, seconds: float = ORDERLY_SECONDS) -> bool:
    """Ends the mesh; whether it ended in order, before it had to be killed. Raises CannotEnd."""
    running.signal(signal.SIGTERM)
    if running.wait(seconds):
        return True
    running.signal(signal.SIGKILL)
    if not running.wait(KILL_SECONDS):
        raise CannotEnd("pid 1 of the mesh does not end after SIGKILL")
    return False


def forget(state: Path) -> list[str]:
    """Removes what only means something while the mesh runs, and says what was there."""
    found = [path for path in (run_state.path_in(state), state / "node.sock") if path.exists()]
    for path in found:
        path.unlink(missing_ok=True)
    return [str(path) for path in found]
