"""`python -m proxy agent`: what Istio's pilot-agent is to Envoy.

Gets the certificate, answers Envoy's secrets and relays its other discovery on 127.0.0.1:15009, starts Envoy, tells whether
the pod is ready, and drains on SIGTERM in Istio's order. When Envoy dies the agent ends with its status.
Reference: Istio pkg/envoy/agent.go; reference §1.3, §1.5, §18.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

from proxy.admin.http_server import HttpServer
from proxy.agent import control_plane, envoy_bootstrap, envoy_process
from proxy.agent.app_probes import AppProbes
from proxy.agent.environment import Settings
from proxy.agent.envoy_process import EnvoyProcess
from proxy.agent.readiness import STATS_QUERY, Observed, Readiness, read_stats
from proxy.agent.relay import Relay
from proxy.agent.scrape import MergedMetrics
from proxy.agent.status_server import StatusServer
from proxy.observability import logging
from proxy.observability.stats import StatsStore
from proxy.tls.secrets import SecretStore
from proxy.xds.ca_client import CaClient
from proxy.xds.http_client import HttpClient, HttpError

_ADMIN_SECONDS = 2.0

log = logging.logger("agent")


def run(settings: Settings) -> int:
    """Run until Envoy ends or a signal says so; the exit status."""
    binary = envoy_process.find(os.environ)
    return asyncio.run(EnvoyAgent(settings, binary).run())


class EnvoyAgent:
    """Builds the agent's parts and lets them run."""

    def __init__(self, settings: Settings, binary: Path) -> None:
        self._settings, self._binary = settings, binary
        self._stats = StatsStore()
        self._secrets = SecretStore()
        self._readiness = Readiness()
        self._stop = asyncio.Event()
        self._drained = False

    async def run(self) -> int:
        settings, ports = self._settings, self._settings.ports
        relay = Relay(self._secrets, lambda: control_plane.connect(settings))
        ca = CaClient(control_plane.connect(settings), self._secrets, settings.identity, settings.secret_ttl)
        pages = StatusServer(
            self._not_ready,
            MergedMetrics(self._stats, self._envoy_metrics, settings.prometheus_annotations),
            AppProbes(settings.app_probers, settings.ip),
            quit=self.stop,
            drain=self._start_drain,
        )
        servers = [
            (HttpServer(relay.answer, "agent"), "127.0.0.1", ports.relay),
            (HttpServer(pages.agent_port, "agent"), "0.0.0.0", ports.agent),
            (HttpServer(pages.ready_port, "agent"), "0.0.0.0", ports.status),
        ]
        tasks = [asyncio.create_task(ca.run())]
        with tempfile.TemporaryDirectory(prefix="glassmesh-agent-") as directory:
            config = envoy_bootstrap.write(settings)
            envoy = EnvoyProcess(self._binary, config, Path(directory))
            try:
                for server, host, port in servers:
                    await server.start(host, port)
                self._on_signals()
                await envoy.start(settings.drain_duration, settings.proxy_config.get("concurrency"))
                return await self._until_end(envoy)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await envoy.stop()
                for server, _, _ in servers:
                    await server.close()
                relay.close()

    def stop(self) -> None:
        """End now, without a drain."""
        self._finish(drained=True)

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._finish)

    def _finish(self, *, drained: bool = False) -> None:
        self._drained = self._drained or drained
        self._stop.set()

    async def _until_end(self, envoy: EnvoyProcess) -> int:
        ended = asyncio.create_task(envoy.wait())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            stopped.cancel()
            log.error("Envoy ended with status %d", ended.result())
            return ended.result()
        self._readiness.terminate()
        if not self._drained:
            await self._drain()
            # In flight finishes while outbound listeners go on working; Envoy's death ends the wait.
            await asyncio.wait((ended,), timeout=self._settings.termination_drain_duration)
        await envoy.stop()
        await ended
        return 0

    def _start_drain(self) -> None:
        """POST /drain: drain now, and exit at once when SIGTERM comes (a native sidecar's preStop)."""
        self._drained = True
        self._draining = asyncio.ensure_future(self._drain("&skip_exit"))

    async def _drain(self, more: str = "") -> None:
        inbound = "" if self._settings.role == "router" else "inboundonly&"
        try:
            await self._ask_envoy("POST", f"/drain_listeners?{inbound}graceful{more}")
        except HttpError as error:
            log.warning("Envoy does not drain: %s", error)

    async def _not_ready(self) -> str | None:
        if not self._readiness.settled:
            if self._secrets.certificate() is None:
                return f"certificate not received from the CA: {self._settings.discovery_address[0]}"
            try:
                observed = read_stats(await self._ask_envoy("GET", STATS_QUERY))
            except HttpError as error:
                return f"failed to get readiness stats: {error}"
            return self._readiness.reason(observed)
        return self._readiness.reason(Observed())

    async def _envoy_metrics(self, query: str) -> str:
        path = "/stats/prometheus" + (f"?{query}" if query else "")
        return await self._ask_envoy("GET", path)

    async def _ask_envoy(self, method: str, path: str) -> str:
        client = HttpClient("127.0.0.1", self._settings.ports.admin)
        try:
            answer = await client.request(
                method, path, within=_ADMIN_SECONDS, headers=[("Connection", "close")]
            )
        finally:
            client.close()
        if answer.status != 200:
            raise HttpError(f"{path}: status {answer.status}")
        return answer.body.decode("utf-8", "replace")
