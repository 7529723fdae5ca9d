"""Runs a workload over peers in interleaved rounds (A B A B …), so that what the machine does meanwhile hits all alike.

Invariant: all peers see the same load in the same order, and a single wrong answer fails the whole run.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.children import Children
from bench.load import Plan
from bench.machine import Pinning, cpu_seconds
from bench.peers.peer import Peer
from bench.sidecars import ENVIRONMENT, Pair, empty_log, start_app, start_pair
from bench.workloads.workload import Workload

Figures = dict[str, float]


class RunFailed(Exception):
    """A wrong answer or a broken generator: the figures would mean nothing."""


@dataclass(frozen=True)
class Effort:
    """How long to measure; seconds."""

    rounds: int
    seconds: float
    warmup: float
    open_seconds: float


FULL = Effort(rounds=5, seconds=5.0, warmup=1.0, open_seconds=5.0)
QUICK = Effort(rounds=3, seconds=2.0, warmup=0.4, open_seconds=1.5)


@dataclass
class Measured:
    """All rounds of one peer."""

    pair: Pair
    rounds: list[Figures] = field(default_factory=list)
    after: dict[str, dict[str, int]] = field(default_factory=dict)


def generate(
    children: Children, pair: Pair, plan: Plan, pins: Pinning
) -> tuple[dict[str, Any], dict[str, float]]:
    """One run of the generator: its result, and the CPU seconds each sidecar used while it measured."""
    argv = [sys.executable, "-m", "bench.load", json.dumps(asdict(plan))]
    child = children.start("load", argv, cpus=pins.generator, stdout=subprocess.PIPE, env=ENVIRONMENT)
    output = child.process.stdout
    assert output is not None
    before: dict[str, float] = {}
    for line in output:
        event = json.loads(line)
        now = {role: cpu_seconds(sidecar.pid) for role, sidecar in pair.sidecars.items()}
        if event["event"] == "measuring":
            before = now
            continue
        children.stop(child)
        if event["errors"]:
            raise RunFailed(f"{pair.peer.title}: {event['error']}")
        return event, {role: now[role] - before[role] for role in now}
    raise RunFailed(f"the generator ended early:\n{child.tail()}")


def measure_once(
    children: Children, pair: Pair, workload: Workload, effort: Effort, pins: Pinning
) -> Figures:
    """Closed loop, then open loop; µs everywhere but requests/s."""
    closed = Plan(
        port=pair.port,
        host=workload.host,
        connections=workload.connections,
        seconds=effort.seconds,
        warmup=effort.warmup,
        body_bytes=workload.body_bytes,
    )
    result, cpu = generate(children, pair, closed, pins)
    figures: Figures = {
        key: result[key] for key in ("requests_per_second", "p50_us", "p90_us", "p99_us", "p999_us")
    }
    for role, seconds in cpu.items():
        figures[f"cpu_us_per_request_{role}"] = seconds * 1e6 / result["requests"]
    if cpu:
        figures["cpu_us_per_request"] = sum(cpu.values()) * 1e6 / result["requests"] / len(cpu)
    opened = Plan(**{**asdict(closed), "rate": workload.rate, "seconds": effort.open_seconds, "warmup": 0.3})
    result, _ = generate(children, pair, opened, pins)
    figures |= {f"rate_{key}": result[key] for key in ("p50_us", "p99_us", "p999_us")}
    for sidecar in pair.sidecars.values():
        sidecar.check()
        empty_log(sidecar)
    return figures


def run(
    workload: Workload,
    peers: list[Peer],
    effort: Effort,
    pins: Pinning,
    directory: Path,
    say: Callable[[str], None],
) -> list[Measured]:
    """Measures `workload` on each of `peers`; everything started is ended when it returns or raises."""
    with Children(directory) as children:
        app_port = start_app(children, workload, pins)
        measured: list[Measured] = []
        for peer in peers:
            measured.append(Measured(start_pair(children, directory, peer, workload, app_port, pins)))
            say(f"{peer.title} is ready")
        for number in range(effort.rounds):
            for one in measured:
                if number and not one.pair.sidecars:
                    continue  # the floor is measured once
                figures = measure_once(children, one.pair, workload, effort, pins)
                one.rounds.append(figures)
                say(
                    f"round {number + 1}/{effort.rounds} {one.pair.peer.title}: {figures['requests_per_second']:.0f} requests/s"
                )
        for one in measured:
            one.after = one.pair.memory()
        return measured
