"""What the figures were measured on, what a process used, and which CPUs each part of a run gets.

All from /proc, so that nothing runs inside or beside the process measured.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


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
    """User and system time of the process so far (`/proc/PID/stat` fields 14 and 15), all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def memory_kib(pid: int) -> dict[str, int]:
    """`rss` and `pss` of the process in KiB (`/proc/PID/smaps_rollup`)."""
    found: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        key, _, rest = line.partition(":")
        if key in ("Rss", "Pss"):
            found[key.lower()] = int(rest.split()[0])
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
