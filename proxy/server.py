"""The sidecar's composition root: names everything a sidecar is made of, starts it, and ends it.

Start: pages first (so that "why not ready" can be asked), then certificate and configuration, then live. SIGTERM: not ready,
drain inbound, wait terminationDrainDuration while what is in flight finishes and outbound goes on working, then exit. SIGINT
and `/quitquitquit` exit at once. Reference: ARCHITECTURE.md, "Processes"; reference §1.5, §18.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from proxy import clock, compiled
from proxy.admin import pages, server_pages, stats_page
from proxy.admin.http_server import Handler, HttpServer, Request, Response
from proxy.admin.server_pages import DRAINING, INITIALIZING, LIVE, ServerState
from proxy.agent import control_plane
from proxy.agent.app_probes import AppProbes
from proxy.agent.environment import SettingsError
from proxy.agent.readiness import Observed, Readiness
from proxy.agent.scrape import MergedMetrics
from proxy.agent.status_server import METRICS_PATHS, StatusServer
from proxy.bootstrap import Bootstrap
from proxy.config.snapshot import Steps
from proxy.observability import logging, prometheus
from proxy.observability.stats import StatsStore
from proxy.tls.secrets import SecretStore
from proxy.workers.worker import Start, Worker
from proxy.xds import slices
from proxy.xds.ca_client import CaClient
from proxy.xds.client import XdsClient
from proxy.xds.http_client import HttpClient
from proxy.xds.resources import EMPTY, Resources
from proxy.xds.rest_client import RestXdsClient

if TYPE_CHECKING:
    from proxy.workers.team import Team

_FILE_DRAIN_SECONDS = 5.0  # without settings: how long a SIGTERM waits for what is in flight

log = logging.logger("main")


def run(
    bootstrap: Bootstrap,
    *,
    drain_time: float | None = None,
    http1_codec: str = "httptools",
    concurrency: int = 1,
    command: Sequence[str] = (),
) -> int:
    """Serve until told to stop; the exit status. `command` starts this program once more, for a worker that ended."""
    loop_factory = _loop_factory(os.environ)
    team = None
    if concurrency > 1:
        from proxy.workers.team import Team  # one worker alone needs none of it

        team = Team.fork(_start(bootstrap, drain_time, http1_codec), concurrency, command, loop_factory)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(Sidecar(bootstrap, drain_time, http1_codec, team).run())


def run_worker(bootstrap: Bootstrap, sockets: str, *, drain_time: float | None, http1_codec: str) -> int:
    """Serve as one of several workers, in the place of one that ended; the exit status."""
    from proxy.workers import follower, process

    start = _start(bootstrap, drain_time, http1_codec)
    return follower.run(start, *process.inherited(sockets), _loop_factory(os.environ))


def _start(bootstrap: Bootstrap, drain_time: float | None, http1_codec: str) -> Start:
    return Start(bootstrap, bootstrap.drain_time if drain_time is None else drain_time, http1_codec)


def _loop_factory(environment: Mapping[str, str]) -> Callable[[], asyncio.AbstractEventLoop] | None:
    """`GLASSMESH_LOOP` chooses `uvloop` or `asyncio`; without it, uvloop if installed (docs/adr/0003). None is asyncio's own."""
    name = environment.get("GLASSMESH_LOOP", "")
    if name not in ("", "asyncio", "uvloop"):
        raise SettingsError(f"GLASSMESH_LOOP: {name!r} is neither asyncio nor uvloop")
    if name == "asyncio":
        return None
    try:
        from proxy.net.event_loop import Loop
    except ImportError:
        if name:
            raise SettingsError("GLASSMESH_LOOP: uvloop is not installed") from None
        return None
    return Loop


class Sidecar:
    """One sidecar. Made inside a running loop by `run`."""

    def __init__(
        self,
        bootstrap: Bootstrap,
        drain_time: float | None = None,
        http1_codec: str = "httptools",
        team: Team | None = None,
    ) -> None:
        self._bootstrap = bootstrap
        start = _start(bootstrap, drain_time, http1_codec)
        self._drain_time = start.drain_time
        self._team = team
        self._worker = Worker(start) if team is None else team.leader
        self._stats, self._secrets = self._worker.stats, self._worker.secrets
        self._agent_stats = StatsStore()
        self._state = ServerState(node=dict(bootstrap.node), awaited=self._awaited)
        self._readiness = Readiness()
        self._concurrency = 1 if team is None else team.concurrency
        self._server_stats = _ServerStats(self._stats, self._state, self._secrets, self._concurrency)
        self._stop = asyncio.Event()
        self._drained = False
        self._servers: list[HttpServer] = []
        self.addresses: dict[str, tuple[str, int]] = {}

    async def run(self) -> int:
        """Start, serve, drain, end; the exit status."""
        tasks: list[asyncio.Task[None]] = []
        try:
            self._worker.open(asyncio.get_running_loop())
            if self._team is not None:
                await self._team.open()
            await self._start_pages()
            self._on_signals()
            tasks = [
                asyncio.create_task(work)
                for work in (*await self._start_configuration(), self._worker.housekeeping())
            ]
            return await self._until_stopped(tasks)
        except ValueError as error:  # the bootstrap's own resources
            raise SettingsError(str(error)) from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for server in self._servers:
                await server.close()
            if self._team is not None:
                await self._team.close()
            self._worker.close()

    def stop(self) -> None:
        """End now, without a drain."""
        self._stop.set()

    def bound_address(self, listener: str) -> tuple[str, int]:
        """Where a listener really is, for one bound to port 0."""
        return self._worker.data_plane.listeners.bound_address(listener)

    # Pages.

    async def _start_pages(self) -> None:
        admin = pages.Admin(
            stats=self._stats,
            secrets=self._secrets,
            sources=self._worker.configuration.sources,
            clusters=self._worker.configuration.cluster_statuses,
            listeners=self._listening,
            state=self._state,
            quit=self._stop.set,
            drain=self._drain_listeners,
            options={"concurrency": self._concurrency, "mode": "Serve", "drain_time": f"{self._drain_time:g}s", "disable_hot_restart": True},
        )  # fmt: skip
        if self._bootstrap.admin_address is not None:
            await self._serve("admin", lambda r: self._admin_page(admin, r), *self._bootstrap.admin_address)
        settings = self._bootstrap.settings
        if settings is None:
            return
        status = StatusServer(
            self._not_ready,
            MergedMetrics(self._agent_stats, self._own_metrics, settings.prometheus_annotations),
            AppProbes(settings.app_probers, settings.ip),
            quit=self._stop.set,
            drain=self._drain_early,
        )
        ports = settings.ports
        await self._serve("agent", status.agent_port, "0.0.0.0", ports.agent)
        await self._serve("status", status.ready_port, "0.0.0.0", ports.status)
        await self._serve("stats", self._stats_page, "0.0.0.0", ports.stats)

    async def _serve(self, name: str, handler: Handler, host: str, port: int) -> None:
        server = HttpServer(handler, "envoy", pages.NO_CACHE)
        self._servers.append(server)
        try:
            self.addresses[name] = await server.start(host, port)
        except OSError as error:
            raise SettingsError(f"{name} page: cannot listen on {host}:{port}: {error.strerror}") from error

    def _admin_page(self, admin: pages.Admin, request: Request) -> Response | Awaitable[Response]:
        self._server_stats.update()
        if self._team is not None:
            return self._team.pages.answer(admin, request)
        return pages.answer(admin, request)

    async def _own_metrics(self, _query: str) -> str:
        return prometheus.exposition(await self._all_stats())

    async def _stats_page(self, request: Request) -> Response:
        if request.path not in METRICS_PATHS:
            return Response(status=404)
        return stats_page.render_prometheus(await self._all_stats(), request.query)

    async def _all_stats(self) -> StatsStore:
        self._server_stats.update()
        return self._stats if self._team is None else await self._team.stats()

    def _listening(self) -> list[tuple[str, str, int]]:
        """Every listener with its real address, those without a socket of their own included, as Envoy lists them."""
        manager = self._worker.data_plane.listeners
        found = []
        for name, runtime in sorted(manager.listeners.items()):
            try:
                address = manager.bound_address(name) if runtime.bind_to_port else runtime.address
            except KeyError:  # it could not be bound
                continue
            found.append((name, *address))
        return found

    # Readiness.

    async def _not_ready(self) -> str | None:
        return self._readiness.reason(self._observed())

    def _observed(self) -> Observed:
        counter = self._stats.counter
        return Observed(
            cds_success=counter("cluster_manager.cds.update_success").value,
            cds_rejected=counter("cluster_manager.cds.update_rejected").value,
            lds_success=counter("listener_manager.lds.update_success").value,
            lds_rejected=counter("listener_manager.lds.update_rejected").value,
            server_state=self._state.shown,
            workers_started=int(not self._worker.configuration.bind_errors),
        )

    def _awaited(self) -> list[str]:
        names = []
        if self._bootstrap.settings is not None and self._secrets.certificate() is None:
            names.append("sds default")
        if self._state.number == INITIALIZING:
            names.append("lds cds")
        return names

    # Configuration.

    async def _start_configuration(self) -> list[Coroutine[Any, Any, None]]:
        """What to run for configuration to arrive; without a control plane it is there already."""
        start, settings = self._bootstrap, self._bootstrap.settings
        self._state.number = INITIALIZING
        if start.xds_address is None:
            if self._team is not None:
                await self._team.apply(EMPTY, "")
            else:
                self._worker.configuration.apply(EMPTY, "")
            if errors := self._worker.configuration.bind_errors:
                raise SettingsError("; ".join(errors))
            self._initialized("of the bootstrap")
            return []
        host, port = start.xds_address
        if settings is None:
            rest = RestXdsClient(lambda: HttpClient(host, port), start.node, self._apply, self._stats)
            return [rest.run()]
        ca = CaClient(control_plane.connect(settings), self._secrets, settings.identity, settings.secret_ttl)
        xds = XdsClient(
            control_plane.connect(settings), start.node, self._apply, self._stats, may_apply=ca.ready.wait
        )
        return [ca.run(), xds.run()]

    def _apply(self, resources: Resources, version: str) -> Awaitable[None] | None:
        """Configuration for every worker; where there are others, it is in force when what is returned was awaited."""
        if self._team is not None:
            return self._apply_to_all(self._team, resources, version)
        steps = self._worker.configuration.apply_steps(resources, version)
        if not slices.run_slice(steps, clock.monotonic):
            return self._apply_rest(steps, version)
        self._initialized(version)
        return None

    async def _apply_rest(self, steps: Steps[None], version: str) -> None:
        await slices.run_rest(steps, clock.monotonic)
        self._initialized(version)

    async def _apply_to_all(self, team: Team, resources: Resources, version: str) -> None:
        await team.apply(resources, version)
        self._initialized(version)

    def _initialized(self, version: str) -> None:
        if self._state.number == INITIALIZING:
            self._state.number = LIVE
            told = "all clusters and listeners initialized, configuration %s; the request path runs %s"
            log.info(told, version, compiled.state)

    # The end.

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminated)
        loop.add_signal_handler(signal.SIGINT, self._stop.set)

    def _terminated(self) -> None:
        """SIGTERM. A second one, or one after `/drain`, does not wait."""
        if self._drained:
            self._stop.set()
            return
        self._drain_early()
        self._ending = asyncio.ensure_future(self._stop_after_drain())

    def _drain_early(self) -> None:
        self._drained = True
        self._readiness.terminate()
        self._state.number = DRAINING
        settings = self._bootstrap.settings
        self._drain_listeners(settings is not None and settings.role == "sidecar", True)

    async def _stop_after_drain(self) -> None:
        settings = self._bootstrap.settings
        if settings is not None:
            await asyncio.sleep(settings.termination_drain_duration)
        else:
            others = [] if self._team is None else [self._team.finish(_FILE_DRAIN_SECONDS)]
            await asyncio.gather(self._worker.finish(_FILE_DRAIN_SECONDS), *others)
        self._stop.set()

    def _drain_listeners(self, inbound_only: bool, graceful: bool) -> None:
        stop = not graceful and not inbound_only
        self._worker.drain(inbound_only=inbound_only, stop=stop)
        if self._team is not None:
            self._team.drain(inbound_only=inbound_only, stop=stop)

    async def _until_stopped(self, tasks: list[asyncio.Task[None]]) -> int:
        stopped = asyncio.create_task(self._stop.wait())
        done, _ = await asyncio.wait((stopped, *tasks), return_when=asyncio.FIRST_COMPLETED)
        if stopped in done:
            return 0
        stopped.cancel()
        for task in done:
            if (error := task.exception()) is not None:
                raise error
        print("glassmesh proxy: a part of the sidecar ended by itself", file=sys.stderr)
        return 1


class _ServerStats:
    """`server.*`, brought up to date when somebody looks."""

    def __init__(self, stats: StatsStore, state: ServerState, secrets: SecretStore, concurrency: int) -> None:
        names = (
            "live",
            "state",
            "uptime",
            "concurrency",
            "memory_allocated",
            "days_until_first_cert_expiring",
        )
        self._gauges = {name: stats.gauge(f"server.{name}") for name in names}
        self._workers = stats.gauge("listener_manager.workers_started")
        self._state, self._secrets, self._concurrency = state, secrets, concurrency

    def update(self) -> None:
        leaf = self._secrets.certificate()
        values = {
            "live": int(self._state.shown == LIVE),
            "state": self._state.shown,
            "uptime": int(clock.monotonic() - self._state.started),
            "concurrency": self._concurrency,
            "memory_allocated": server_pages.resident_bytes(),
            "days_until_first_cert_expiring": int((leaf.leaf.not_after - clock.wall()) // 86400)
            if leaf
            else 0,
        }
        for name, value in values.items():
            self._gauges[name].value = value
        self._workers.value = int(self._state.number in (LIVE, DRAINING))
