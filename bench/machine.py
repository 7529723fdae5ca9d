"""What the figures were measured on, what a process used, and which CPUs each part of a run gets.

All from /proc, so that nothing runs inside or beside the process measured.
"""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pinning:
    """CPUs of the sidecars and of what surrounds them; empty sets leave the choice to the kernel."""

    client: set[int]
    server: set[int]
    generator: set[int]
    upstream: set[int]

    @property
    def text(self) -> str:
        parts = {
            "client": self.client,
            "server": self.server,
            "generator": self.generator,
            "upstream": self.upstream,
        }
        return ", ".join(f"{name} {sorted(cpus) or 'any'}" for name, cpus in parts.items())


def pinning(cpus: set[int]) -> Pinning:
    """The same split for every peer.

    With four CPUs or more each part has its own. With two or three, both sidecars share one and what surrounds them shares
    the other: then the sidecars are what saturates, requests/s is 1 / (sum of their CPU), and the generator never
    steals time from what it measures.
    """
    order = sorted(cpus)
    if len(order) >= 4:
        return Pinning({order[-1]}, {order[-2]}, {order[0]}, {order[1]})
    if len(order) >= 2:
        return Pinning({order[-1]}, {order[-1]}, {order[0]}, {order[0]})
    return Pinning(set(), set(), set(), set())


def cpu_seconds(pid: int) -> float:
    """What the process, its threads and its helper processes have run so far, in s of nanosecond grain.

    `/proc/PID/task/*/schedstat` counts what the scheduler gave; `/proc/PID/stat` has 10 ms ticks. Threads and helpers that have
    ended are not in it. Raises OSError when the process itself is gone.
    """
    total = 0
    for each in family(pid):
        for task in Path(f"/proc/{each}/task").iterdir():
            with contextlib.suppress(OSError):
                total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def user_and_system(pid: int) -> tuple[int, int]:
    """Ticks in the process' own code and in the kernel (`/proc/PID/stat`), helpers included: coarse, but it tells the two apart."""
    own = kernel = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        own, kernel = own + int(fields[11]), kernel + int(fields[12])
    return own, kernel


def family(pid: int) -> list[int]:
    """The process and its helper processes, and theirs. Raises OSError when the process itself is gone."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def memory_kib(pid: int) -> dict[str, int]:
    """`rss`, `pss` and `anonymous` in KiB (`/proc/PID/smaps_rollup`), of the process and its helper processes together.

    What of shared libraries counts for `pss` depends on who else runs; `anonymous` is the process' own.
    """
    found: dict[str, int] = {}
    for each in family(pid):
        for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
            key, _, rest = line.partition(":")
            if key in ("Rss", "Pss", "Anonymous"):
                found[key.lower()] = found.get(key.lower(), 0) + int(rest.split()[0])
    return found


def description() -> dict[str, str | int]:
    """CPU model, counts, kernel and Python of this machine."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)),
        "load_1min_before": f"{os.getloadavg()[0]:.2f}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
