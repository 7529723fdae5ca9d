"""From what was observed to figures, their medians and spread, and ratios to Envoy. Pure.

A figure is of one sidecar: of a pair it is the mean of both. Names end in their unit; `added_…` is what a proxy adds to the figure of no
proxy at all in the same round.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.peers.peer import Peer

Figures = dict[str, float]
Memory = Mapping[str, Mapping[str, int]]
"""KiB by role, `rss` and `pss`."""
LATENCIES = ("p50_us", "p90_us", "p99_us", "p999_us")


@dataclass(frozen=True)
class Observed:
    """One run of a generator: its result; CPU seconds by role while it measured and before that; memory before and after."""

    result: Mapping[str, Any]
    cpu: Mapping[str, float]
    cpu_before: Mapping[str, float]
    memory_before: Memory
    memory_after: Memory
    in_kernel: Mapping[str, float] = field(default_factory=dict)
    """The share of `cpu` that the kernel took, by role."""


@dataclass
class Measured:
    """All rounds of one peer. `idle` is the memory before the first request."""

    peer: Peer
    idle: Memory
    rounds: list[Figures] = field(default_factory=list)


def mean_memory(memory: Memory, kind: str) -> float:
    """KiB of one sidecar."""
    return statistics.mean(each[kind] for each in memory.values())


def figures(observed: Observed, roles: Sequence[str] | None = None) -> Figures:
    """What one round says; of the sidecars in `roles`, or of all."""
    result = observed.result
    found: Figures = {
        key: result[key]
        for key in ("requests_per_second", "bytes_per_second", *LATENCIES)
        if result.get(key) is not None
    }
    if result.get("requests"):
        found.setdefault("requests_per_second", result["requests"] / result["seconds"])
    if result.get("requests") and "resumed" in result:
        found["resumed_share"] = result["resumed"] / result["requests"]
    cpu = {role: used for role, used in observed.cpu.items() if roles is None or role in roles}
    if not cpu:
        return found
    used = sum(cpu.values()) / len(cpu)
    found["vcpu"] = used / result["seconds"]
    if result.get("requests"):
        found["cpu_us_per_request"] = used * 1e6 / result["requests"]
        found["requests_per_cpu_second"] = result["requests"] / used
        for role, seconds in cpu.items():
            found[f"cpu_us_per_request_{role}"] = seconds * 1e6 / result["requests"]
        if observed.in_kernel:
            kernel = sum(seconds * observed.in_kernel[role] for role, seconds in cpu.items()) / len(cpu)
            found["kernel_us_per_request"] = kernel * 1e6 / result["requests"]
    if result.get("bytes"):
        found["bytes_per_cpu_second"] = result["bytes"] / used
    for kind in ("rss", "pss"):
        found[f"{kind}_kib"] = mean_memory(observed.memory_after, kind)
    return found | _held(observed, cpu)


def _held(observed: Observed, roles: Iterable[str]) -> Figures:
    """What connections cost that the generator opened before it measured, and holds."""
    count = observed.result.get("connections_held", 0)
    if not count:
        return {}
    opening = sum(observed.cpu_before[role] for role in roles)
    grown = sum(observed.memory_after[role]["rss"] - observed.memory_before[role]["rss"] for role in roles)
    return {
        "connections_held": count,
        "cpu_us_per_connection": opening * 1e6 / count,
        "kib_per_connection": grown / count,
    }


def with_added(measured: Sequence[Measured]) -> None:
    """Adds to each round of each peer what it adds to the latencies of no proxy at all in that round."""
    floor = next((each for each in measured if each.peer.command is None), None)
    if floor is None:
        return
    for each in measured:
        if each is floor:
            continue
        for ours, bare in zip(each.rounds, floor.rounds, strict=True):
            ours |= {f"added_{key}": ours[key] - bare[key] for key in LATENCIES if key in ours}


def medians(measured: Measured) -> Figures:
    """The median of each figure over the rounds, and the idle memory."""
    keys = measured.rounds[0]
    found = {key: statistics.median(each[key] for each in measured.rounds) for key in keys}
    if measured.idle:
        found["rss_idle_kib"] = mean_memory(measured.idle, "rss")
        found["pss_idle_kib"] = mean_memory(measured.idle, "pss")
    return found


def spread(measured: Measured) -> dict[str, list[float]]:
    """Lowest and highest of each figure over the rounds."""
    found = {}
    for key in measured.rounds[0]:
        values = [each[key] for each in measured.rounds]
        found[key] = [min(values), max(values)]
    return found


def ratios(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Figures:
    """Ours divided by theirs, for each figure that both have and that is positive there."""
    return {key: round(ours[key] / theirs[key], 4) for key in ours if theirs.get(key, 0) > 0}
