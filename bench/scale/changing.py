"""A mesh that is changed, by the API or by kubectl, while something follows it; what the control plane uses meanwhile."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.children import Children
from bench.machine import cpu_seconds, memory_kib
from bench.scale import mesh
from bench.scale.kubectl import Kubectl
from bench.scale.plane import Api, Plane

Figures = dict[str, Any]
Say = Callable[[str], None]


@dataclass(eq=False)
class Changing:
    """`kubectl` is None where the machine has none. `directory` is for whatever takes part."""

    children: Children
    directory: Path
    control: Plane
    api: Api
    kubectl: Kubectl | None
    services: int
    endpoints: int
    rounds: int
    say: Say
    writes: list[float] = field(default_factory=list)  # ms that the API took
    made: Counter[str] = field(default_factory=Counter)  # how often each change was made: no two are alike

    def changes(self) -> list[mesh.Change]:
        return mesh.changes(self.services, self.endpoints)

    def usage(self) -> tuple[float, Figures]:
        """CPU seconds of the control plane so far, and its memory in KiB."""
        pid = self.control.child.pid
        return cpu_seconds(pid), memory_kib(pid)

    async def write(self, change: mesh.Change) -> float:
        """Makes a change through the API; the moment its answer came, monotonic seconds."""
        begun = time.monotonic()
        await self.api.write(*change.make(self.made[change.title]))
        ended = time.monotonic()
        self.writes.append(ms(ended - begun))
        self.made[change.title] += 1
        return ended

    async def apply(self, change: mesh.Change) -> tuple[float, float]:
        """Makes a change by `kubectl apply`; when the process was started, and how many ms it took."""
        assert self.kubectl is not None
        applied = await self.kubectl.apply(change.make(self.made[change.title])[1])
        self.made[change.title] += 1
        return applied.started, ms(applied.ended - applied.started)


def ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def summary(times: list[float]) -> Figures:
    return {"median_ms": statistics.median(times), "max_ms": max(times)}


def medians(found: list[Figures]) -> Figures:
    """Of figures by the same names."""
    return {key: round(statistics.median(one[key] for one in found), 2) for key in found[0]}
