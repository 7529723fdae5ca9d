"""One implementation: its sidecars, one for each group of cases, configured over xDS; runs the cases and collects what was seen."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path

from bench.children import ChildDied, Children
from bench.ports import free_ports
from bench.sidecars import ENVIRONMENT
from control.push.static import StaticXds
from tests.differential.case.apps import RunningPod
from tests.differential.case.client import Surroundings, Visitor
from tests.differential.case.group import Group
from tests.differential.case.logs import ByAddress, access_logs, of_case
from tests.differential.case.model import Change, Json
from tests.differential.case.observe import SideStats, stats_of
from tests.differential.case.place import Placed
from tests.differential.case.pushes import Pushes
from tests.differential.case.sidecar import Refused, Sidecar, bootstrap

PACE_S = 0.0012
"""Cases begin this far apart, and further for each request, so that two cores keep up and times mean something."""
Spoil = Callable[[list[Json]], None]
"""Changes one side's resources, to prove that the comparison sees it."""


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
        await client.settled()
        for listener, port in group.ports.items():
            self.symbols[port] = f"listener {listener}"
            await client.accepts("127.0.0.1", port)
        if not group.has_servers:
            return
        await self._servers[group.name].settled()
        for placed in group.placed:
            if placed.case.at != "client":
                self.symbols[placed.app_port] = "pod port"
                await self._servers[group.name].accepts(placed.pods[0].ip, placed.app_port)

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
        lines = await access_logs(
            {role: [one.child.output for one in of] for role, of in self._roles().items()}
        )
        for sidecar in self._all():
            if complaints := sidecar.complaints():
                print(f"{sidecar.child.name} wrote:", *complaints[:40], sep="\n", file=sys.stderr)
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
        """Until the group's sidecars go by what they were offered; raises Refused."""
        client = self._clients[group.name]
        await client.settled()
        if group.has_servers:
            await self._servers[group.name].settled()
        await client.warmed()

    def _seen(self, placed: Placed, visitor: Visitor, lines: dict[str, ByAddress], stats: SideStats) -> Json:
        pods = {pod.pod.name: pod for pod in self._pods[placed.name]}
        return {
            "client": visitor.answers,
            "readings": visitor.readings,
            "upstream": {name: pod.seen for name, pod in pods.items()},
            "connections": {name: pod.connections for name, pod in pods.items()},
            "log": {role: of_case(of, placed) for role, of in lines.items()},
            "stats": stats,
        }

    def _roles(self) -> dict[str, list[Sidecar]]:
        return {"client": [*self._clients.values()], "server": [*self._servers.values()]}

    def _all(self) -> list[Sidecar]:
        return [*self._clients.values(), *self._servers.values()]

    async def stop(self) -> None:
        for pods in self._pods.values():
            for pod in pods:
                await pod.stop()
        for sidecar in self._all():
            await asyncio.to_thread(self._children.stop, sidecar.child)


async def _later(seconds: float, visitor: Visitor) -> None:
    await asyncio.sleep(seconds)
    await visitor.run()
