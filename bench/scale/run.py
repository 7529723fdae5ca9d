"""One mesh size measured: real sidecars, then thin clients, while single changes are made.

A change is timed from the answer to its write until a sidecar has applied it (`write` is what the write itself took), and from the start of
the `kubectl apply` that makes it. Invariant: everything started is ended when `run` returns or raises. Times in ms, memory in KiB, CPU in s.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.children import Children
from bench.scale import plane
from bench.scale.changing import Changing, Figures, Say
from bench.scale.crowd import thin_clients
from bench.scale.kubectl import Kubectl
from bench.scale.plane import Api
from bench.scale.real import real_sidecars

REAL = ("glassmesh", "envoy")
WAYS = ("plaintext", "tls")


def run(
    services: int = 1000,
    endpoints: int = 10,
    clients: int = 1000,
    rounds: int = 5,
    ways: Sequence[str] = WAYS,
    real: Sequence[str] = REAL,
    say: Say = print,
) -> Figures:
    """All figures of one size, by name; those of thin clients by the way they connect."""
    with tempfile.TemporaryDirectory(prefix="glassmesh-scale-") as name:
        directory = Path(name)
        with Children(directory) as children:
            return asyncio.run(
                _run(children, directory, services, endpoints, clients, rounds, ways, real, say)
            )


async def _run(
    children: Children,
    directory: Path,
    services: int,
    endpoints: int,
    clients: int,
    rounds: int,
    ways: Sequence[str],
    real: Sequence[str],
    say: Say,
) -> Figures:
    control = plane.start(children, directory, services, endpoints)
    kubectl = Kubectl.find(control.state / "kubeconfig", directory)
    figures: Figures = {"services": services, "endpoints": endpoints, "clients": clients}
    async with Api(control) as api:
        say(f"{services} services x {endpoints} endpoints")
        await asyncio.sleep(2.0)
        changing = Changing(children, directory, control, api, kubectl, services, endpoints, rounds, say)
        if real:
            figures["real"] = await real_sidecars(changing, real)
        if clients:
            count = min(clients, services * endpoints)
            figures["thin"] = {way: await thin_clients(changing, count, way) for way in ways}
    return figures
