"""What is written down of a running mesh, so that it can be found and ended even after everything crashed.

`STATE/node/run.json` names pid 1 with its start time and the boot it belongs to: a pid alone may be someone else's by now, and
nothing is signalled that is not proven to be ours.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunState:
    """One running mesh. `start_time` is in clock ticks since boot (/proc/PID/stat)."""

    pid: int
    start_time: int
    boot_id: str
    api_port: int
    gateway_port: int
    detached: bool

    @property
    def alive(self) -> bool:
        """Whether pid 1 of this mesh still runs."""
        return self.boot_id == boot_id() and start_time(self.pid) == self.start_time


def path_in(state: Path) -> Path:
    return state / "node" / "run.json"


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """When a process started; None when there is none, or only what its parent has not collected."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else int(fields[19])


def read(state: Path) -> RunState | None:
    """The mesh last started with this state directory, running or not; None when none is written down."""
    try:
        return RunState(**json.loads(path_in(state).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write(state: Path, run: RunState) -> None:
    target = path_in(state)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f".run.json.{os.getpid()}")
    new.write_text(json.dumps(asdict(run)))
    new.rename(target)


def remove(state: Path) -> None:
    path_in(state).unlink(missing_ok=True)
