"""One mesh size measured: real sidecars, then thin clients, while single changes are made.

A change is timed from the answer to its write until a sidecar has applied it; `write` is what the write itself took. Invariant: everything
started is ended when `run` returns or raises. Times in ms, memory in KiB, CPU in s.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from bench.children import Child, Children, wait_until
from bench.machine import cpu_seconds, memory_kib
from bench.scale import mesh, plane, sidecars
from bench.scale.applied import Page, statuses, synced
from bench.scale.plane import Api, Plane
from bench.scale.sidecars import Sidecar
from bench.sidecars import ENVIRONMENT

Figures = dict[str, Any]
Say = Callable[[str], None]
REAL = ("glassmesh", "envoy")


def run(
    services: int = 1000,
    endpoints: int = 10,
    clients: int = 1000,
    rounds: int = 5,
    tls: bool = False,
    real: Sequence[str] = REAL,
    say: Say = print,
) -> Figures:
    """All figures of one size, by name."""
    with tempfile.TemporaryDirectory(prefix="glassmesh-scale-") as name:
        directory = Path(name)
        with Children(directory) as children:
            return asyncio.run(
                _run(children, directory, services, endpoints, clients, rounds, tls, real, say)
            )


async def _run(
    children: Children,
    directory: Path,
    services: int,
    endpoints: int,
    clients: int,
    rounds: int,
    tls: bool,
    real: Sequence[str],
    say: Say,
) -> Figures:
    control = plane.start(children, directory, services, endpoints)
    figures: Figures = {"services": services, "endpoints": endpoints, "clients": clients}
    async with Api(control) as api:
        say(f"{services} services x {endpoints} endpoints")
        await asyncio.sleep(2.0)
        measured = Measuring(children, directory, control, api, services, endpoints, rounds, say)
        figures["real"] = await measured.real_sidecars(real)
        if clients:
            figures["thin"] = await measured.thin_clients(min(clients, services * endpoints), tls)
    return figures


class Measuring:
    """A filled control plane, and what is measured on it."""

    def __init__(
        self,
        children: Children,
        directory: Path,
        control: Plane,
        api: Api,
        services: int,
        endpoints: int,
        rounds: int,
        say: Say,
    ) -> None:
        self._children, self._directory = children, directory
        self._control, self._api, self._say = control, api, say
        self._services, self._endpoints, self._rounds = services, endpoints, rounds
        self._writes: list[float] = []  # ms
        self._made: Counter[str] = Counter()  # how often each change was made: no two are alike

    def _usage(self) -> tuple[float, Figures]:
        pid = self._control.child.pid
        return cpu_seconds(pid), memory_kib(pid)

    async def _write(self, change: mesh.Change) -> float:
        """Makes a change; the moment its answer came."""
        begun = time.monotonic()
        await self._api.write(*change.make(self._made[change.title]))
        self._writes.append(_ms(time.monotonic() - begun))
        self._made[change.title] += 1
        return time.monotonic()

    # Real sidecars.

    async def real_sidecars(self, kinds: Sequence[str]) -> Figures:
        started = [await self._start(number, kind) for number, kind in enumerate(kinds)]
        figures: Figures = {}
        try:
            async with aiohttp.ClientSession() as session:
                begun = time.monotonic()
                first = await self._first(session, started)
                await asyncio.sleep(2.0)
                for one in started:
                    figures[one.kind] = {
                        "first_ms": _ms(first[one.child.pid] - begun),
                        "cpu_s": one.cpu(),
                        **one.memory(),
                    }
                figures["changes"] = await self._change_real(session, started)
            for one in started:
                figures[one.kind]["after"] = one.memory()
        finally:
            for one in started:
                self._children.stop(one.child)
        _, figures["control_memory"] = self._usage()
        figures["write"] = _summary(self._writes)
        return figures

    async def _first(self, session: aiohttp.ClientSession, started: list[Sidecar]) -> dict[int, float]:
        try:
            return await synced(session, self._control, started, {})
        except TimeoutError as error:
            tails = "\n".join(one.child.tail() for one in started)
            raise TimeoutError(f"{error}\n{tails}") from error

    async def _start(self, number: int, kind: str) -> Sidecar:
        pod = mesh.pod_of(number, 0)
        token = await self._api.token(pod.namespace, pod.service_account)
        return sidecars.start(self._children, self._directory, self._control, kind, pod, token, number)

    async def _change_real(self, session: aiohttp.ClientSession, started: list[Sidecar]) -> Figures:
        figures: Figures = {}
        for change in mesh.changes(self._services, self._endpoints):
            times: dict[str, list[float]] = {}
            for _ in range(self._rounds):
                for kind, took in (await self._one_real(session, started, change)).items():
                    times.setdefault(kind, []).append(took)
            figures[change.title] = {kind: _summary(found) for kind, found in times.items()}
            self._say(f"{change.title}: {figures[change.title]}")
        return figures

    async def _one_real(
        self, session: aiohttp.ClientSession, started: list[Sidecar], change: mesh.Change
    ) -> dict[str, float]:
        known = await statuses(session, self._control)
        before = {name: status["version"] for name, status in known.items()}
        pages = {
            one: _page(one, change, self._made[change.title], self._services)
            for one in started
            if one.kind == "envoy" or not _is_of_a_table(change)
        }
        contents = {one: page.content() for one, page in pages.items()}
        written = await self._write(change)
        told = [one for one in started if one not in pages]
        waiting = [asyncio.create_task(page.changed(contents[one], 0.01)) for one, page in pages.items()]
        found = await synced(session, self._control, told, before)
        took = {one.kind: _ms(found[one.child.pid] - written) for one in told}
        for one, task in zip(pages, waiting, strict=True):
            took[one.kind] = _ms(await task - written)
            pages[one].close()
        if started:  # all acknowledged, so that the next change finds everyone at rest
            acknowledged = await synced(session, self._control, started, before)
            for one in started:
                took[f"{one.kind} acknowledged"] = _ms(acknowledged[one.child.pid] - written)
        await asyncio.sleep(0.3)
        return took

    # Thin clients.

    async def thin_clients(self, count: int, tls: bool) -> Figures:
        thin = await self._start_thin(count, tls)
        figures: Figures = {"connected": count, "tls": tls}
        cpu, _ = self._usage()
        begun = time.monotonic()
        figures["first"] = await self._answers(thin, begun, cpu)
        self._say(f"{count} clients have everything: {figures['first']}")
        await asyncio.sleep(1.0)
        _, figures["control_memory"] = self._usage()
        changes: dict[str, list[Figures]] = {}
        for _ in range(self._rounds):
            for change in mesh.changes(self._services, self._endpoints):
                cpu, _ = self._usage()
                written = await self._write(change)
                changes.setdefault(change.title, []).append(await self._answers(thin, written, cpu))
                await asyncio.sleep(0.3)
        thin.writer.close()
        self._children.stop(thin.child)
        figures["changes"] = {title: _medians(found) for title, found in changes.items()}
        figures["write"] = _summary(self._writes)
        for title, found in figures["changes"].items():
            self._say(f"{title}, {count} clients: {found}")
        return figures

    async def _start_thin(self, count: int, tls: bool) -> Thin:
        path, plan = self._directory / "thin.sock", self._directory / "thin.json"
        plan.write_text(json.dumps(await self._plan(count, tls)))
        argv = [sys.executable, "-m", "bench.scale.thin", str(plan), str(path)]
        child = self._children.start("thin", argv, env=ENVIRONMENT)
        wait_until("the thin clients", path.exists, [child])
        return Thin(child, *await asyncio.open_unix_connection(path, limit=1 << 26))

    async def _plan(self, count: int, tls: bool) -> Figures:
        ports, clients = self._control.ports, []
        for number in range(count):
            pod = mesh.pod_of(number % self._services, self._endpoints - 1 - number // self._services)
            token = await self._api.token(pod.namespace, pod.service_account) if tls else None
            clients.append({"node": _node(pod), "token": token})
        return {
            "port": ports["tls"] if tls else ports["plaintext"],
            "root": self._control.root_certificate if tls else None,
            "clients": clients,
        }

    async def _answers(self, thin: Thin, since: float, cpu: float) -> Figures:
        """Until every client has acknowledged once more: when, and what it cost since `cpu`."""
        thin.writer.write(b"1\n")
        told = json.loads(await thin.reader.readline())
        times = sorted(_ms(at - since) for at in told["acknowledged"])
        if not times:
            raise TimeoutError("no client was told of the change")
        return {
            "answers": len(times),
            "p50_ms": times[len(times) // 2],
            "p99_ms": times[int(len(times) * 0.99)],
            "max_ms": times[-1],
            "bytes_per_client": round(statistics.mean(told["received"])),
            "control_cpu_s": round(self._usage()[0] - cpu, 2),
        }


@dataclass
class Thin:
    """The process of the thin clients, and the way to talk to it."""

    child: Child
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


def _node(pod: mesh.Pod) -> Figures:
    metadata = {
        "NAME": pod.name,
        "NAMESPACE": pod.namespace,
        "SERVICE_ACCOUNT": pod.service_account,
        "LABELS": {"app": pod.app, "version": "v1"},
    }
    return {"id": pod.node_id, "cluster": pod.app, "metadata": metadata, "user_agent_name": "glassmesh"}


def _is_of_a_table(change: mesh.Change) -> bool:
    """Our page of the one large route table costs our sidecar more than the change; that it acknowledged says as much."""
    return "VirtualService" in change.title


def _page(sidecar: Sidecar, change: mesh.Change, made: int, services: int) -> Page:
    """The page of a sidecar that shows the change."""
    if "Service added" in change.title:
        return Page(sidecar, "clusters", _cluster(services + made))
    if "DestinationRule" in change.title:
        return Page(sidecar, "clusters", _cluster(0))
    if "endpoint" in change.title:
        return Page(sidecar, "endpoints", _cluster(services - 1))
    return Page(sidecar, "routes", str(mesh.PORT))


def _cluster(service: int) -> str:
    host = f"{mesh.name_of(service)}.{mesh.namespace_of(service)}.svc.cluster.local"
    return f"outbound|{mesh.PORT}||{host}"


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _summary(times: list[float]) -> Figures:
    return {"median_ms": statistics.median(times), "max_ms": max(times)}


def _medians(found: list[Figures]) -> Figures:
    return {key: round(statistics.median(one[key] for one in found), 2) for key in found[0]}
