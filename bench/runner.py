"""Runs workloads over peers in interleaved rounds (A B A B …), so that what the machine does meanwhile hits all alike.

Invariant: all peers see the same load in the same order, a single wrong answer fails the whole run, and whatever was started is ended when
`run` returns or raises.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.children import Children
from bench.figures import Figures, Measured, Observed, figures
from bench.machine import Pinning, cpu_seconds, user_and_system
from bench.peers.peer import Peer
from bench.sidecars import ENVIRONMENT, Pair, empty_log, start_app, start_pair
from bench.workloads.workload import Scene, Workload


class RunFailed(Exception):
    """A wrong answer or a broken generator: the figures would mean nothing."""


@dataclass(frozen=True)
class Effort:
    """How often to measure, and by what to multiply each workload's seconds."""

    rounds: int
    stretch: float = 1.0


FULL = Effort(rounds=3)
QUICK = Effort(rounds=3, stretch=0.75)


def arguments(pair: Pair, workload: Workload, stretch: float) -> dict[str, Any]:
    """The generator's plan for this pair."""
    scene = workload.scene
    place: dict[str, Any] = {"port": pair.port, "host": pair.authority(scene.host)}
    if workload.target == "server":
        place |= {"port": pair.server_port, **pair.client_files}
    if pair.peer.forward:
        place["path"] = pair.target(scene.host)
    return {
        **place,
        "seconds": workload.seconds * stretch,
        "warmup": workload.warmup * stretch,
        **workload.plan,
    }


def generate(
    children: Children, pair: Pair, workload: Workload, pins: Pinning, stretch: float = 1.0
) -> Observed:
    """One run of the workload's generator, and what the sidecars used while it measured. Raises RunFailed, ChildDied."""
    plan = json.dumps(arguments(pair, workload, stretch))
    memory = pair.memory()
    before = at_start = _cpu(pair)
    ticks_before = ticks(pair)
    argv = [sys.executable, "-m", workload.generator, plan]
    child = children.start("load", argv, cpus=pins.generator, stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert child.process.stdout is not None
    for line in child.process.stdout:
        event = json.loads(line)
        now = _cpu(pair)
        if event["event"] == "measuring":
            before, ticks_before = now, ticks(pair)
            continue
        after, in_kernel = pair.memory(), _kernel_shares(ticks_before, ticks(pair))
        children.stop(child)
        if event["errors"]:
            raise RunFailed(f"{workload.name}, {pair.peer.title}: {event['error']}")
        for sidecar in pair.sidecars.values():
            sidecar.check()
        used = {role: now[role] - before[role] for role in now}
        prepared = {role: before[role] - at_start[role] for role in now}
        return Observed(event, used, prepared, memory, after, in_kernel)
    raise RunFailed(f"{workload.name}, {pair.peer.title}: the generator ended early:\n{child.tail()}")


def _cpu(pair: Pair) -> dict[str, float]:
    return {role: cpu_seconds(sidecar.pid) for role, sidecar in pair.sidecars.items()}


Ticks = dict[str, tuple[int, int]]


def ticks(pair: Pair) -> Ticks:
    """Of user and system time so far, by role."""
    return {role: user_and_system(sidecar.pid) for role, sidecar in pair.sidecars.items()}


def _kernel_shares(before: Ticks, after: Ticks) -> dict[str, float]:
    """Of too few ticks to tell, a half."""
    shares = {}
    for role, (own, kernel) in after.items():
        own, kernel = own - before[role][0], kernel - before[role][1]
        shares[role] = kernel / (own + kernel) if own + kernel else 0.5
    return shares


def run(
    workloads: Sequence[Workload],
    peers: Sequence[Peer],
    effort: Effort,
    pins: Pinning,
    directory: Path,
    say: Callable[[str], None],
) -> dict[str, list[Measured]]:
    """Measures each of `workloads` on those of `peers` it wants; by the workload's name, in the order of `peers`."""
    found: dict[str, list[Measured]] = {}
    for scene, group in itertools.groupby(workloads, lambda workload: workload.scene):
        found |= _run_scene(scene, list(group), peers, effort, pins, directory, say)
    return found


def _run_scene(
    scene: Scene,
    workloads: Sequence[Workload],
    peers: Sequence[Peer],
    effort: Effort,
    pins: Pinning,
    directory: Path,
    say: Callable[[str], None],
) -> dict[str, list[Measured]]:
    place = directory / scene.name
    place.mkdir()
    with Children(place) as children:
        app_port = start_app(children, scene, pins)
        pairs = []
        for peer in peers:
            if any(peer.name in workload.peers for workload in workloads):
                say(f"{scene.name}: starting {peer.title}")
                pairs.append(start_pair(children, place, peer, scene, app_port, pins))
        found = {
            workload.name: [Measured(pair.peer, pair.idle) for pair in pairs if _wants(workload, pair)]
            for workload in workloads
        }
        for number, workload in itertools.product(range(effort.rounds), workloads):
            if number >= (workload.rounds or effort.rounds):
                continue
            wanted = [pair for pair in pairs if _wants(workload, pair)]
            for pair, measured in zip(wanted, found[workload.name], strict=True):
                say(f"{workload.title}, round {number + 1} of {effort.rounds}: {pair.peer.title}")
                observed = generate(children, pair, workload, pins, effort.stretch)
                measured.rounds.append(_figures(workload, observed))
                _forget_logs(pairs)
        return found


def _wants(workload: Workload, pair: Pair) -> bool:
    return pair.peer.name in workload.peers


def _figures(workload: Workload, observed: Observed) -> Figures:
    return figures(observed, ["server"] if workload.target == "server" else None)


def _forget_logs(pairs: Iterable[Pair]) -> None:
    for pair in pairs:
        for sidecar in pair.sidecars.values():
            empty_log(sidecar)
