"""What a sidecar holds at a moment of the soak, and whether the moments together are flat.

Memory is fitted by a straight line after the warm-up, in KiB per 100,000 requests. Invariant: judging needs nothing but the
samples, so that it can be tested without a run. References: /proc/PID/smaps_rollup, Envoy's admin `/stats`.
"""

from __future__ import annotations

import json
import os
import statistics
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.machine import memory_kib

PER = 100_000
WARM_UP = 0.3
"""Share of the requests after which caches, pools and metric series are all there."""
SLOPE_KIB = 256
"""Per 100,000 requests: 2.6 bytes for each. One object kept for every thirty requests would show."""
NOISE_KIB = 2048
"""What an allocator's arenas may add whatever the length of the run."""
FDS = 40
"""More descriptors at the end than after the warm-up: pools breathe, a leak would pass this within seconds."""
AT_REST = (
    "downstream_rq_active",
    "downstream_cx_active",
    "upstream_rq_active",
    "upstream_rq_pending_active",
    "upstream_cx_active",
    "active_faults",
    "cx_open",
    "rq_open",
    "rq_pending_open",
    "rq_retry_open",
)
"""Gauges that are 0 when nobody asks for anything and idle connections have gone."""
_NOT_TRAFFIC = ("cluster.xds-rest.", "http.admin.", "listener.admin.")


@dataclass(frozen=True)
class Sample:
    """After `requests`; memory in KiB. `anonymous` is what no file backs: nobody else's doing changes it."""

    requests: int
    rss: int
    anonymous: int
    fds: int


def take(pid: int, requests: int) -> Sample:
    memory = memory_kib(pid)
    return Sample(requests, memory["rss"], memory["anonymous"], len(os.listdir(f"/proc/{pid}/fd")))


def stats(admin_port: int) -> dict[str, int]:
    """Counters and gauges by name. Raises OSError."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/stats?format=json", timeout=10) as answer:
        found = json.load(answer)["stats"]
    return {one["name"]: int(one["value"]) for one in found if isinstance(one.get("value"), int)}


def not_at_rest(found: Mapping[str, int]) -> dict[str, int]:
    """Gauges of traffic that should be 0 and are not."""
    return {
        name: value
        for name, value in found.items()
        if value and name.rpartition(".")[2] in AT_REST and not name.startswith(_NOT_TRAFFIC)
    }


def total(found: Mapping[str, int], *suffixes: str) -> int:
    """The sum of all stats whose name ends so."""
    return sum(value for name, value in found.items() if name.endswith(suffixes))


def slope(points: Iterable[tuple[int, int]]) -> float:
    """Least squares: how much the second grows per `PER` of the first. 0 for fewer than three points."""
    xs, ys = zip(*points, strict=True)
    return statistics.linear_regression(xs, ys).slope * PER if len(xs) > 2 else 0.0


@dataclass(frozen=True)
class Verdict:
    """Of one sidecar. `slope` in KiB per 100,000 requests, of its anonymous memory."""

    slope: float
    grown: float
    fds: int
    flat: bool


def judge(samples: Sequence[Sample]) -> Verdict:
    """Flat: neither memory nor descriptors rise over the run by more than the bounds above."""
    last = samples[-1].requests
    kept = [one for one in samples if one.requests >= last * WARM_UP]
    per = slope((one.requests, one.anonymous) for one in kept)
    grown = per * (kept[-1].requests - kept[0].requests) / PER
    fds = kept[-1].fds - kept[0].fds
    flat = (per <= SLOPE_KIB or grown <= NOISE_KIB) and fds <= FDS
    return Verdict(per, grown, fds, flat)
