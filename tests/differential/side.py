"""One implementation's two sidecars with every scenario's apps around them; runs the scenarios and collects what was seen."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.bootstrap import bootstrap
from bench.children import Child, Children, wait_until
from bench.ports import free_ports
from bench.sidecars import CLIENT_NODE, ENVIRONMENT, SERVER_NODE, listening
from tests.differential import client_tls
from tests.differential.apps import RunningApp, refusing_port
from tests.differential.mesh import LOG_FIELDS, ListenerPorts, Placed, client_snapshot, server_snapshot
from tests.differential.scenario import (
    HTTP,
    REGISTRY_ONLY,
    SNIFFED,
    STRICT,
    TCP,
    Json,
    Scenario,
)
from tests.differential.wire import Dialogue, Wire

AT_ONCE = 40
SETTLE_S = 0.25
"""How long a connection must stay open to count as kept."""
ANNOUNCED_S = 2.0
"""The same, when the answer announced that it will be closed: Envoy gives the client a second to do so itself."""
LOG_QUIET_S = 1.5
"""Longer than a sidecar keeps log lines before it writes them: a second, as Istio starts Envoy."""
Secrets = dict[str, list[dict[str, Any]]]
Spoil = Callable[[dict[str, Any]], None]
"""Changes the configuration of one side, to prove that the comparison sees it."""


class Side:
    """Started with `start`, run once with `run`, ended by closing its `Children`."""

    def __init__(self, name: str, command: Any, directory: Path, children: Children) -> None:
        self.name = name
        self._command = command
        self._directory = directory
        self._children = children
        self._apps: dict[tuple[str, str], RunningApp] = {}
        self._sidecars: dict[str, Child] = {}
        self.placed: list[Placed] = []
        self.symbols: dict[int, str] = {}

    async def _place(self, scenario: Scenario, at: str) -> Placed:
        ports: dict[str, int] = {}
        for name, script in scenario.apps.items():
            app = RunningApp(script)
            (ports[name],) = free_ports(1)
            await app.start(ports[name])
            self._apps[f"{scenario.name}.{at}", name] = app
        for name in (*scenario.endpoints, *(one for hosts in scenario.subsets.values() for one in hosts)):
            if name.startswith("refused"):
                ports[name] = refusing_port()
        tcp = free_ports(2) if scenario.listener == TCP else [0, 0]
        number = len(self.placed)
        source = f"127.1.{number // 250}.{number % 250 + 1}"
        return Placed(scenario, at, source, ports, *tcp)

    async def start(self, scenarios: list[Scenario], secrets: Secrets, spoil: Spoil) -> None:
        """Starts apps and sidecars; raises with their output when a sidecar refuses the configuration."""
        for scenario in scenarios:
            for at in scenario.at:
                self.placed.append(await self._place(scenario, at))
        numbers = free_ports(9)
        outbound = dict(zip((HTTP, SNIFFED, REGISTRY_ONLY), numbers[:3], strict=True))
        inbound = dict(zip((HTTP, SNIFFED, STRICT), numbers[3:6], strict=True))
        self._ports = ListenerPorts(outbound, inbound)
        self._name_ports()
        xds_port, client_admin, server_admin = numbers[6:]
        snapshots = {
            CLIENT_NODE: client_snapshot(self.placed, self._ports, secrets["client"]),
            SERVER_NODE: server_snapshot(self.placed, self._ports, secrets["server"]),
        }
        spoil(snapshots)
        file = self._directory / f"{self.name}-xds.json"
        file.write_text(json.dumps(snapshots))
        argv = [sys.executable, "-m", "bench.xds_server", str(file), str(xds_port)]
        xds = self._children.start(f"{self.name}-xds", argv, env=ENVIRONMENT)
        await asyncio.to_thread(wait_until, "the xDS server listens", lambda: listening(xds_port), [xds])
        for role, node, admin in (
            ("client", CLIENT_NODE, client_admin),
            ("server", SERVER_NODE, server_admin),
        ):
            config = self._directory / f"{self.name}-{role}.json"
            config.write_text(json.dumps(bootstrap(node, admin, xds_port)))
            self._sidecars[role] = self._children.start(
                f"{self.name}-{role}", self._command(config), env=ENVIRONMENT
            )
        wanted = [*outbound.values(), *inbound.values()]
        await asyncio.to_thread(
            wait_until,
            f"{self.name} listens",
            lambda: all(map(listening, wanted)),
            [*self._sidecars.values(), xds],
        )

    def _name_ports(self) -> None:
        for kind, port in (*self._ports.outbound.items(), *self._ports.inbound.items()):
            self.symbols[port] = f"listener {kind}"
        for placed in self.placed:
            self.symbols |= {port: f"app {name}" for name, port in placed.app_ports.items()}
            self.symbols |= {placed.tcp_outbound: "listener tcp", placed.tcp_inbound: "listener inbound tcp"}

    async def run(self, secrets: Secrets) -> dict[str, Json]:
        """Every placed scenario once; raw observations by `name.at`."""
        tls = client_tls.contexts(self._directory, secrets["client"])
        limit = asyncio.Semaphore(AT_ONCE)

        async def one(placed: Placed) -> Json:
            async with limit:
                return await self._converse(placed, tls)

        found = await asyncio.gather(*map(one, self.placed))
        for app in self._apps.values():
            await app.stop()
        lines = await self._log_lines()
        for placed, observation in zip(self.placed, found, strict=True):
            observation["log"] = {
                role: [line for line in of if _is_of(line, placed)] for role, of in lines.items()
            }
            observation["apps"] = {
                name: self._apps[f"{placed.scenario.name}.{placed.at}", name].seen()
                for name in placed.scenario.apps
            }
        return {f"{one.scenario.name}.{one.at}": seen for one, seen in zip(self.placed, found, strict=True)}

    async def _converse(self, placed: Placed, tls: dict[str, Any]) -> Json:
        """The client's part: its steps, then whether its connection was kept."""
        port = self._ports.of(placed)
        dialogue = Dialogue(placed.scenario.client)
        context = tls[placed.scenario.tls] if placed.scenario.tls else None
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, local_addr=(placed.source, 0)
            )
        except OSError:
            return {"client": [{"connect": "failed"}], "end": "closed"}
        wire = Wire(reader, writer, placed.host)
        await dialogue.run(wire)
        end = await _how_it_ends(wire, ANNOUNCED_S if _announces_close(dialogue.seen) else SETTLE_S)
        writer.close()
        return {"client": dialogue.seen, "end": end}

    async def _log_lines(self) -> dict[str, list[Json]]:
        """The access logs by role, once nothing more is written to them."""
        files = {role: child.output for role, child in self._sidecars.items()}
        size, since = -1, time.monotonic()
        while time.monotonic() - since < LOG_QUIET_S:
            total = sum(os.path.getsize(file) for file in files.values())
            if total != size:
                size, since = total, time.monotonic()
            await asyncio.sleep(0.05)
        return {role: _parse_log(file) for role, file in files.items()}


def _announces_close(seen: list[Json]) -> bool:
    return bool(seen) and ["connection", "close"] in seen[-1].get("headers", [])


async def _how_it_ends(wire: Wire, patience_s: float) -> str:
    """`kept`, `closed` or `reset`, or the bytes that came though nothing was asked."""
    try:
        async with asyncio.timeout(patience_s):
            data = await wire.reader.read(200)
    except TimeoutError:
        return "kept"
    except OSError:
        return "reset"
    return f"more bytes: {data.decode('latin-1')}" if data else "closed"


def _parse_log(file: Path) -> list[Json]:
    found = []
    for line in file.read_text(errors="replace").splitlines():
        if line.startswith("LOG\t"):
            found.append(dict(zip(LOG_FIELDS, line.split("\t")[1:], strict=True)))
    return found


def _is_of(line: Json, placed: Placed) -> bool:
    """Whether a log line is of the scenario: it came from its own source address, or names its host."""
    host = placed.host
    return (
        line["remote"].startswith(f"{placed.source}:")
        or line["authority"] == host
        or line["cluster"].endswith(f"|{host}")
    )
