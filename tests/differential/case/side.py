"""One implementation: its sidecars, one for each group of cases, configured over xDS; runs the cases and collects what was seen."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import aiohttp

from bench.children import Child, ChildDied, Children
from bench.ports import free_ports
from bench.sidecars import ENVIRONMENT
from bench.xds_shapes import REST, address
from control.push.connection import Connection
from control.push.snapshot import digest
from control.push.static import StaticXds
from tests.differential.case.apps import RunningPod
from tests.differential.case.client import Surroundings, Visitor
from tests.differential.case.group import FIELDS, Group
from tests.differential.case.load import BadCase
from tests.differential.case.model import Change, Json
from tests.differential.case.observe import SideStats, stats_of
from tests.differential.case.place import Placed

READY_S = 30.0
LOG_QUIET_S = 1.3
"""Longer than a sidecar keeps log lines before it writes them: a second."""
PACE_S = 0.0012
"""Cases begin this far apart, and further for each request, so that two cores keep up and times mean something."""
GATHER_S = 0.05
"""How long a push waits for others."""
Spoil = Callable[[list[Json]], None]
"""Changes one side's resources, to prove that the comparison sees it."""


class Refused(Exception):
    """A sidecar did not take its configuration; the text is the sidecar's."""


def bootstrap(node: str, admin_port: int, xds_port: int, locality: str = "") -> Json:
    """As `bench.bootstrap`, with room for a subscription for each of many clusters."""
    endpoint = {"endpoint": {"address": address("127.0.0.1", xds_port)}}
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 100_000)
    region, zone, subzone = [*locality.split("/"), "", "", ""][:3]
    where = {"region": region, "zone": zone, "sub_zone": subzone}
    identity = {"id": node, "cluster": "client.default", "metadata": {"NAMESPACE": "default"}}
    return {
        "node": identity | ({"locality": where} if locality else {}),
        "admin": {"address": address("127.0.0.1", admin_port)},
        "dynamic_resources": {"lds_config": REST, "cds_config": REST},
        "static_resources": {
            "clusters": [
                {
                    "name": "xds-rest",
                    "type": "STATIC",
                    "connect_timeout": "5s",
                    "circuit_breakers": {"thresholds": [limits]},
                    "load_assignment": {
                        "cluster_name": "xds-rest",
                        "endpoints": [{"lb_endpoints": [endpoint]}],
                    },
                }
            ]
        },
    }


class Sidecar:
    """One running sidecar of a group."""

    def __init__(
        self, node: str, child: Child, admin: int, connection: Callable[[], Connection | None]
    ) -> None:
        self.node, self.child, self.admin = node, child, admin
        self._connection = connection

    def has_all(self) -> bool:
        """Whether everything offered was accepted; raises Refused."""
        connection = self._connection()
        if connection is None or not connection.exchanges:
            return False
        for (url, names), exchange in connection.exchanges.items():
            known = connection.snapshot.select(url, names)
            if names and not known:
                continue  # a subscription to what is no more
            wanted = digest(known) if url else connection.snapshot.version
            if exchange.refused == wanted:
                raise Refused(f"{exchange.error}\n{self.child.tail()}")
            if exchange.acked != wanted:
                return False
        return True

    async def get(self, path: str) -> str:
        url = f"http://127.0.0.1:{self.admin}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return await response.text()

    async def stats(self, named: str = "") -> dict[str, int]:
        """Counters and gauges that were ever written, and whose names have something that matches `named`."""
        found = {}
        chosen = f"&filter={quote(named)}" if named else ""
        for kind in ("Counters", "Gauges"):
            for line in (await self.get(f"/stats?usedonly&type={kind}{chosen}")).splitlines():
                name, _, value = line.rpartition(": ")
                if value.isdigit():
                    found[name] = int(value)
        return found


class Pushes:
    """Changes that cases make at about the same time go out together: each would else wait for all before it."""

    def __init__(self, offer: Callable[[], None], accepted: Callable[[], Awaitable[None]]) -> None:
        self._offer, self._accepted = offer, accepted
        self._waiting: list[asyncio.Future[str]] = []
        self._task: asyncio.Task[None] | None = None

    async def push(self) -> str:
        """Goes on when the sidecars have what the group holds now; why they refused it, or nothing."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await done

    async def _run(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_S)
            batch, self._waiting = self._waiting, []
            try:
                self._offer()
                await self._accepted()
                answer = ""
            except (Refused, BadCase) as error:
                answer = str(error)
            for done in batch:
                if not done.cancelled():
                    done.set_result(answer)


class Side:
    """`start`, `run`, `stop`; the groups' cases begin anew with each side."""

    def __init__(
        self,
        name: str,
        command: Callable[[Path], list[str]],
        directory: Path,
        children: Children,
        xds: StaticXds,
        secrets: list[Json],
        spoil: Spoil,
    ) -> None:
        self.name = name
        self._command, self._directory, self._children = command, directory, children
        self._xds, self._secrets, self._spoil = xds, secrets, spoil
        self._clients: dict[str, Sidecar] = {}
        self._servers: dict[str, Sidecar] = {}
        self._pods: dict[str, list[RunningPod]] = {}
        self.symbols: dict[int, str] = {}

    async def start(self, groups: list[Group]) -> dict[str, str]:
        """Starts sidecars and pods. The groups whose sidecars do not start, with the reason."""
        for group in groups:
            group.reset()
            self._offer(group)
            self._clients[group.name] = self._start(group, "client")
            if group.has_servers:
                self._servers[group.name] = self._start(group, "server")
            for placed in group.placed:
                self._pods[placed.name] = [RunningPod(pod, placed.app_port) for pod in placed.pods]
        for pods in self._pods.values():
            for pod in pods:
                await pod.start()
        failed = {}
        for group in groups:
            try:
                await self._ready(group)
            except (Refused, ChildDied) as error:
                failed[group.name] = str(error)
        return failed

    async def _ready(self, group: Group) -> None:
        """Until the group's sidecars have everything and listen; raises Refused or ChildDied."""
        client = self._clients[group.name]
        await self._until(client)
        for listener, port in group.ports.items():
            self.symbols[port] = f"listener {listener}"
            await self._accepts("127.0.0.1", port, client)
        if not group.has_servers:
            return
        await self._until(self._servers[group.name])
        for placed in group.placed:
            if placed.case.at != "client":
                self.symbols[placed.app_port] = "pod port"
                await self._accepts(placed.pods[0].ip, placed.app_port, self._servers[group.name])

    def _node(self, group: Group, role: str) -> str:
        return f"sidecar~{group.ip}~{role}.default~{self.name}-{group.name}"

    def _offer(self, group: Group) -> None:
        context = group.context()
        messages = group.client_messages(context)
        self._spoil(messages)
        self._xds.set(self._node(group, "client"), [*messages, *self._secrets])
        if group.has_servers:
            messages = group.server_messages()
            self._spoil(messages)
            self._xds.set(self._node(group, "server"), [*messages, *self._secrets])

    def _start(self, group: Group, role: str) -> Sidecar:
        node = self._node(group, role)
        (admin,) = free_ports(1)
        name = f"{self.name}-{role}-{group.name}"
        config = self._directory / f"{name}.json"
        config.write_text(json.dumps(bootstrap(node, admin, self._xds.port, group.client.locality)))
        child = self._children.start(name, self._command(config), env=ENVIRONMENT)
        return Sidecar(node, child, admin, lambda: self._xds.connection(node))

    async def _until(self, sidecar: Sidecar) -> None:
        end = time.monotonic() + READY_S
        while not sidecar.has_all():
            sidecar.child.check()
            if time.monotonic() > end:
                raise Refused(
                    f"{sidecar.child.name} did not take all it was offered:\n{sidecar.child.tail()}"
                )
            await asyncio.sleep(0.02)

    async def _accepts(self, ip: str, port: int, sidecar: Sidecar) -> None:
        end = time.monotonic() + READY_S
        while True:
            try:
                _, writer = await asyncio.open_connection(ip, port)
            except OSError:
                sidecar.child.check()
                if time.monotonic() > end:
                    raise Refused(f"{sidecar.child.name} does not listen:\n{sidecar.child.tail()}") from None
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    async def run(self, groups: list[Group]) -> dict[str, Json]:
        """Every case once; raw observations by name."""
        visitors: dict[str, Visitor] = {}
        begin = 0.0
        async with asyncio.TaskGroup() as tasks:
            for group in groups:
                around = self._surroundings(group)
                for placed in group.placed:
                    visitors[placed.name] = visitor = Visitor(placed, around)
                    tasks.create_task(_later(begin, visitor))
                    begin += PACE_S * (1 + visitor.size)
        lines = await self._log_lines()
        self._report_complaints()
        found = {}
        for group in groups:
            sidecars = {"client": self._clients[group.name], "server": self._servers.get(group.name)}
            stats = SideStats(
                [pair for sidecar in sidecars.values() if sidecar for pair in (await sidecar.stats()).items()]
            )
            for placed in group.placed:
                found[placed.name] = self._seen(placed, visitors[placed.name], lines, stats)
        return found

    def _surroundings(self, group: Group) -> Surroundings:
        def port(placed: Placed, service_port: int | None) -> tuple[str, int]:
            if placed.case.at == "server":
                return placed.pods[0].ip, placed.app_port
            number = service_port or placed.case.ports[0]["port"]
            own = f"{placed.services[placed.name]}_{number}"
            return "127.0.0.1", group.ports.get(own) or group.ports[f"0.0.0.0_{number}"]

        pushes = Pushes(lambda: self._offer(group), lambda: self._accepted(group))

        async def change(placed: Placed, step: Change) -> str:
            group.changes[placed.name].append(step)
            return await pushes.push()

        async def stats(placed: Placed, wanted: list[str]) -> Json:
            own = (
                "" if any(name.startswith(":") for name in wanted) else f"[|]({'|'.join(placed.services)})[.]"
            )
            stats = await self._clients[group.name].stats(own)
            return stats_of(placed, SideStats(stats.items()), wanted)

        return Surroundings(port, change, stats)

    async def _accepted(self, group: Group) -> None:
        """Until the group's sidecars go by what they were offered; raises Refused.

        Envoy accepts clusters before it knows their endpoints: they are in use when none is warming.
        """
        sidecar = self._clients[group.name]
        await self._until(sidecar)
        if group.has_servers:
            await self._until(self._servers[group.name])
        name = "cluster_manager.warming_clusters"
        await asyncio.sleep(0.25)
        while (await sidecar.get(f"/stats?filter=^{name}$")).strip() not in ("", f"{name}: 0"):
            await asyncio.sleep(0.05)

    def _seen(self, placed: Placed, visitor: Visitor, lines: dict[str, ByAddress], stats: SideStats) -> Json:
        pods = {pod.pod.name: pod for pod in self._pods[placed.name]}
        return {
            "client": visitor.answers,
            "readings": visitor.readings,
            "upstream": {name: pod.seen for name, pod in pods.items()},
            "connections": {name: pod.connections for name, pod in pods.items()},
            "log": {role: _of_case(of, placed) for role, of in lines.items()},
            "stats": stats,
        }

    async def _log_lines(self) -> dict[str, ByAddress]:
        """The access logs by role, once nothing more is written to them."""
        roles = {
            "client": [one.child.output for one in self._clients.values()],
            "server": [one.child.output for one in self._servers.values()],
        }
        files = [file for of in roles.values() for file in of]
        size, since = -1, time.monotonic()
        while time.monotonic() - since < LOG_QUIET_S:
            total = sum(os.path.getsize(file) for file in files)
            if total != size:
                size, since = total, time.monotonic()
            await asyncio.sleep(0.05)
        return {
            role: _by_address([line for file in of for line in _parsed(file)]) for role, of in roles.items()
        }

    def _report_complaints(self) -> None:
        """What a sidecar wrote beside its access log, such as a traceback, goes to stderr: it explains differences."""
        for sidecar in (*self._clients.values(), *self._servers.values()):
            lines = sidecar.child.output.read_text(errors="replace").splitlines()
            other = [line for line in lines if not line.startswith("LOG\t")]
            if any("Traceback" in line for line in other):
                print(f"{sidecar.child.name} wrote:", *other[:40], sep="\n", file=sys.stderr)

    async def stop(self) -> None:
        for pods in self._pods.values():
            for pod in pods:
                await pod.stop()
        for sidecar in (*self._clients.values(), *self._servers.values()):
            await asyncio.to_thread(self._children.stop, sidecar.child)


async def _later(seconds: float, visitor: Visitor) -> None:
    await asyncio.sleep(seconds)
    await visitor.run()


def _parsed(file: Path) -> list[Json]:
    found = []
    for line in file.read_text(errors="replace").splitlines():
        if line.startswith("LOG\t"):
            found.append(dict(zip(FIELDS, line.split("\t")[1:], strict=True)))
    return found


ByAddress = dict[str, list[Json]]
"""Log lines by the client's address, and by where the connection came in."""


def _by_address(lines: list[Json]) -> ByAddress:
    found: ByAddress = defaultdict(list)
    for line in lines:
        found[line["direct"].rpartition(":")[0]].append(line)
        found[line["local"]].append(line)
    return found


def _of_case(lines: ByAddress, placed: Placed) -> list[Json]:
    """Those from a client address of the case's own, or at its server sidecar."""
    if placed.case.at != "client":
        found = [line for pod in placed.pods for line in lines.get(f"{pod.ip}:{placed.app_port}", ())]
        if found:
            return found
    return [line for address in placed.clients.values() for line in lines.get(address, ())]
