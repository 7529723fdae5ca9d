"""Which functions of our sidecar the time goes to: sampled, which disturbs nothing, or every call counted.

The sidecar runs from source, because a compiled function leaves no frame to look at. See `bench.profiled`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pstats
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.children import Child, wait_until
from bench.peers import glassmesh
from bench.peers.peer import Peer


def peer(profiler: str) -> Peer:
    """Our sidecar with `profiler` (`samples`, `calls`) at hand; see `profiled`."""
    return dataclasses.replace(
        glassmesh.FROM_SOURCE,
        command=lambda file: [
            sys.executable, "-m", "bench.profiled", profiler, str(_output(file)), "-c", str(file)
        ],
        unavailable=lambda: "",
    )  # fmt: skip


def _output(bootstrap: Path) -> Path:
    return bootstrap.with_suffix(".profile")


@contextmanager
def profiled(directory: Path, sidecars: Mapping[str, Child]) -> Iterator[dict[str, Path]]:
    """The profiler runs meanwhile; afterwards the files are written, by role."""
    outputs = {role: _output(directory / f"{sidecar.name}.json") for role, sidecar in sidecars.items()}
    for sidecar in sidecars.values():
        os.kill(sidecar.pid, signal.SIGUSR1)
    yield outputs
    for role, sidecar in sidecars.items():
        os.kill(sidecar.pid, signal.SIGUSR2)
        wait_until("the profile is written", outputs[role].exists, [sidecar])


def samples(output: Path) -> Counter[tuple[str, str]]:
    """Samples by file and function."""
    return Counter({(file, name): count for file, name, count in json.loads(output.read_text())})


def by_name(found: Counter[tuple[str, str]], total: float) -> list[tuple[str, float]]:
    """Functions and their own µs per request, most first; `total` is the request's."""
    scale = total / found.total()
    return [(f"{_path(file)} {name}".strip(), count * scale) for (file, name), count in found.most_common()]


def calls(output: Path, requests: int) -> list[tuple[str, float, float, float]]:
    """Functions with calls, own µs and µs with callees, per request, most own time first."""
    # typeshed has no type for the attribute that holds the figures.
    entries = pstats.Stats(str(output)).stats  # type: ignore[attr-defined]
    found = []
    for (file, line, name), (count, _, own, cumulative, _) in entries.items():
        where = f"{_path(file)}:{line} {name}" if line else name
        found.append((where, count / requests, own * 1e6 / requests, cumulative * 1e6 / requests))
    return sorted(found, key=lambda row: row[2], reverse=True)


def _path(file: str) -> str:
    before, found, path = file.rpartition("/proxy/")
    return f"proxy/{path}" if found else before + path
