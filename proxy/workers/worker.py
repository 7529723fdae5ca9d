"""What one process serves with: its stats, secrets and logs, its data plane and what that is configured with.

A sidecar with one worker has one of these in its only process; with several, each process has its own. Decides nothing of
its own: whoever owns it brings configuration and says when to drain. Part of the composition root.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy import clock
from proxy.admin.server_pages import VERSION
from proxy.bootstrap import Bootstrap
from proxy.config.snapshot import Steps
from proxy.config.stats import StatsMatcher
from proxy.configuration import Configuration, PreparedConfiguration
from proxy.data_plane import DataPlane, Services
from proxy.http.filters.peer_metadata import PeerMetadataParts
from proxy.net import listener
from proxy.observability import access_log, istio_metrics, logging, peer_struct
from proxy.observability.istio_metrics import IstioMetrics
from proxy.observability.stats import SIDECAR_PREFIXES, SIDECAR_SUFFIXES, Inclusion, StatsStore
from proxy.observability.workload import workload_of_node
from proxy.router.conditions import string_test
from proxy.tls import engine
from proxy.tls.secrets import SecretStore
from proxy.upstream.cluster import OriginalDstCluster
from proxy.xds import slices
from proxy.xds.resources import Resources

if TYPE_CHECKING:
    from proxy.workers.shared_memory import SharedMemory

log = logging.logger("main")

Bind = Callable[[tuple[str, int]], socket.socket]


@dataclass(frozen=True, slots=True)
class Start:
    """What every worker of a sidecar is started with. `drain_time` in s."""

    bootstrap: Bootstrap
    drain_time: float
    http1_codec: str = "httptools"


class Worker:
    """`leads`: this process also owns discovery, pages and signals. `shared`: what it has in common with other
    workers, if there are any. `data_plane` and `configuration` exist once opened.
    """

    def __init__(
        self,
        start: Start,
        *,
        leads: bool = True,
        bind: Bind = listener.bind,
        shared: SharedMemory | None = None,
    ) -> None:
        self._start, self._bind, self._shared = start, bind, shared
        self.stats = StatsStore(_inclusion(start.bootstrap))
        self.secrets = SecretStore()
        self.logs = access_log.AccessLogs(self.stats, nullcontext if shared is None else shared.writing)
        metadata = start.bootstrap.node.get("metadata") or {}
        self._metadata = metadata
        self.metrics = IstioMetrics(
            self.stats,
            workload_of_node(metadata),
            lambda: self.secrets.own_uri_san,
            VERSION if leads else "",  # the build is told of once
        )
        self.on_ejected: Callable[[str, str], None] = _nobody_told
        self.data_plane: DataPlane
        self.configuration: Configuration

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the data plane, with nothing to serve yet. Raises `ValueError`: the bootstrap's own resources."""
        self.data_plane = DataPlane(loop, self._services())
        self.configuration = Configuration(self._start.bootstrap, self.data_plane, self.secrets)

    def _services(self) -> Services:
        node = self._start.bootstrap.node
        services = Services(
            stats=self.stats,
            secrets=self.secrets,
            access_loggers=self.logs.loggers,
            istio_http_stats=self.metrics.http_logger,
            istio_tcp_stats=self.metrics.tcp_logger,
            istio_tcp_opened=self.metrics.tcp_opened,
            peer_metadata=PeerMetadataParts(
                str(node.get("id", "")).encode(), peer_struct.encode(self._metadata), peer_struct.decode
            ),
            local_uri_san=lambda: self.secrets.own_uri_san,
            drain_time=self._start.drain_time,
            http1_codec=self._start.http1_codec,
            locality=_locality(node.get("locality")),
            bind=self._bind,
        )
        if self._shared is not None:
            services.shared_counts = self._shared.counts
            services.shared_buckets = self._shared.buckets
            services.shared_failures = self._shared.failures
            services.on_ejected = lambda cluster, host: self.on_ejected(cluster, host.name)
        return services

    async def prepare(self, resources: Resources, version: str) -> PreparedConfiguration:
        """Build a snapshot, with requests served in between, without using it. Raises `ValueError` with every reason.

        Nothing else may be prepared meanwhile.
        """
        built: list[PreparedConfiguration] = []

        def build() -> Steps[None]:
            built.append((yield from self.configuration.prepare_steps(resources, version)))

        steps = build()
        if not slices.run_slice(steps, clock.monotonic):
            await slices.run_rest(steps, clock.monotonic)
        return built[0]

    def ejected_elsewhere(self, cluster: str, host: str) -> None:
        """Outlier detection of another worker ejected a host; `on_ejected` is told of those that this one ejects."""
        found = self.data_plane.clusters.clusters.get(cluster)
        if found is not None and found.outlier is not None:
            found.outlier.ejected_elsewhere(host)

    async def housekeeping(self) -> None:
        """Every second access logs are written and idle TLS gives memory back; every five, TCP metrics are taken and unused hosts forgotten."""
        ticks = 0
        while True:
            await asyncio.sleep(access_log.FLUSH_SECONDS)
            ticks += 1
            try:
                self._keep_house(ticks)
            except Exception:  # one failure must not end it for good
                log.exception("housekeeping failed unexpectedly")

    def _keep_house(self, ticks: int) -> None:
        engine.tidy()
        self.logs.flush()
        if ticks % int(istio_metrics.TCP_REPORT_SECONDS / access_log.FLUSH_SECONDS) == 0:
            self.metrics.flush_tcp()
            for cluster in self.data_plane.clusters.clusters.values():
                if isinstance(cluster, OriginalDstCluster):
                    cluster.forget_unused()

    # The end.

    def drain(self, *, inbound_only: bool, stop: bool) -> None:
        """Tell clients to close; with `stop`, accept no more."""
        self.data_plane.drain(inbound_only=inbound_only)
        if stop:
            self.data_plane.listeners.stop_accepting()

    async def finish(self, within: float) -> None:
        """Accept no more, and wait until nothing is in flight; at most `within` s."""
        self.data_plane.listeners.stop_accepting()
        deadline = clock.monotonic() + within
        while self.data_plane.listeners.active_connections and clock.monotonic() < deadline:  # noqa: ASYNC110 - a count, no event
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Break everything off and write what is buffered."""
        self.data_plane.close()
        self.metrics.flush_tcp()
        self.logs.close()


def _nobody_told(_cluster: str, _host: str) -> None:
    """There is no other worker."""


def _inclusion(bootstrap: Bootstrap) -> Inclusion | Callable[[str], bool] | None:
    """Istio's inclusion list for an injected sidecar; with a bootstrap file what that says, and every stat otherwise, as in Envoy."""
    if bootstrap.settings is None:
        return None if bootstrap.stats is None else _matched(bootstrap.stats)
    matcher = bootstrap.settings.proxy_config.get("proxyStatsMatcher") or {}
    patterns = matcher.get("inclusionRegexps") or ()
    if patterns:
        import re2

        found = [re2.compile(pattern).search for pattern in patterns]
    else:
        found = []
    return Inclusion(
        (*SIDECAR_PREFIXES, *matcher.get("inclusionPrefixes", ())),
        (*SIDECAR_SUFFIXES, *matcher.get("inclusionSuffixes", ())),
        found,
    )


def _matched(matcher: StatsMatcher) -> Callable[[str], bool]:
    """Whether a `stats_matcher` lets a stat of this name be."""
    if matcher.reject_all is not None:
        answer = not matcher.reject_all
        return lambda _name: answer
    listed = matcher.inclusion_list or matcher.exclusion_list
    assert listed is not None  # one of the three is set
    tests, wanted = (
        [string_test(pattern)[1] for pattern in listed.patterns],
        matcher.inclusion_list is not None,
    )

    def included(name: str) -> bool:
        text = name.encode()
        return any(test(text) for test in tests) is wanted

    return included


def _locality(told: object) -> tuple[str, str, str] | None:
    """`node.locality` of the bootstrap."""
    if not isinstance(told, dict) or not told:
        return None
    return (str(told.get("region", "")), str(told.get("zone", "")), str(told.get("sub_zone", "")))
