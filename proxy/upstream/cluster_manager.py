"""All clusters of this proxy, and how a new snapshot becomes the current one.

A change is prepared whole and then applied at once: `prepare` builds what is new and may refuse, `commit` only swaps.
An unchanged definition keeps its cluster object with pools and counters; a changed one gets a new object while the old
one drains. A cluster of which nothing shows before it is used is only checked, and built for its first request. The mapping
handed to the router is replaced with every change. Reference: Envoy source/common/upstream/cluster_manager_impl.cc; reference §18.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.config import cluster as config
from proxy.config.endpoint import ClusterLoadAssignment
from proxy.config.on_demand import source
from proxy.config.snapshot import Snapshot, Steps, finish
from proxy.upstream import cluster_builder
from proxy.upstream.cluster import Cluster
from proxy.upstream.cluster_builder import ClusterParts, TransportChoice
from proxy.upstream.cluster_map import ClusterMap
from proxy.upstream.cluster_stats import any_registered
from proxy.upstream.host import Host
from proxy.upstream.host_set import OVERPROVISIONING_FACTOR
from proxy.upstream.outlier_detection import OutlierDetector
from proxy.upstream.transport import RAW, Transport


@dataclass(slots=True)
class _Built:
    cluster: Cluster
    transports: TransportChoice

    def hosts(self, assignment: ClusterLoadAssignment | None) -> list[Host]:
        service = self.cluster.upstream.service if self.cluster.upstream is not None else None
        return list(cluster_builder.hosts(assignment, self.transports, service))


@dataclass(slots=True)
class _Known:
    """One cluster with what it was made from: the same object means that it is unchanged. `built` None: nobody has used it."""

    definition: object
    type: str
    endpoints_name: str  # of an EDS cluster
    stat_name: str
    endpoints: object = None
    built: _Built | None = None


@dataclass(slots=True)
class _Hosts:
    """New endpoints of a cluster; `hosts` None while the cluster is not built."""

    known: _Known
    endpoints: object
    factor: int
    hosts: list[Host] | None
    wanted: config.Cluster | None = None  # of a STRICT_DNS cluster


@dataclass(slots=True)
class PreparedClusters:
    """The outcome of `prepare`, to be handed to `commit`."""

    snapshot: Snapshot
    known: dict[str, _Known] = field(default_factory=dict)
    hosts: list[_Hosts] = field(default_factory=list)


# Told of a STRICT_DNS cluster: its definition, and its hosts with names where addresses will be.
Resolve = Callable[[Cluster, config.Cluster, list[Host]], None]


class ClusterManager:
    """`clusters` maps names to clusters in use and finds the others; `on_change` is told of every new mapping."""

    def __init__(
        self,
        parts: ClusterParts,
        on_change: Callable[[Mapping[str, Cluster]], None],
        resolve: Resolve | None = None,
    ) -> None:
        self._parts = parts
        self._on_change = on_change
        self._resolve = resolve
        self._known: dict[str, _Known] = {}
        self._snapshot = Snapshot()
        self.clusters = ClusterMap()

    @property
    def names(self) -> Iterable[str]:
        """Of all clusters, in use or not."""
        return self._known.keys()

    def prepare(self, static: Mapping[str, config.Cluster], snapshot: Snapshot) -> PreparedClusters:
        """Build what is new. Raises ConfigError; nothing has changed then. `static` are the bootstrap's clusters."""
        return finish(self.prepare_steps(static, snapshot))

    def prepare_steps(
        self, static: Mapping[str, config.Cluster], snapshot: Snapshot
    ) -> Steps[PreparedClusters]:
        """`prepare`, a cluster after the other."""
        prepared = PreparedClusters(snapshot)
        for name in {**dict.fromkeys(snapshot.clusters), **dict.fromkeys(static)}:
            own = static.get(name)
            definition = source(snapshot.clusters, name) if own is None else own
            known = self._known.get(name)
            wanted = None
            if known is None or known.definition is not definition:
                wanted = snapshot.clusters[name] if own is None else own
                known = self._new(wanted, definition, waits=own is None)
            prepared.known[name] = known
            changed = self._new_hosts(known, wanted, snapshot)
            if changed is not None:
                prepared.hosts.append(changed)
                yield
        return prepared

    def _new(self, wanted: config.Cluster, definition: object, *, waits: bool) -> _Known:
        eds = wanted.eds_cluster_config
        endpoints_name = (eds.service_name if eds is not None else "") or wanted.name
        known = _Known(definition, wanted.type, endpoints_name, wanted.alt_stat_name or wanted.name)
        if waits and self._may_wait(wanted, known.stat_name):
            cluster_builder.transports(wanted, self._parts)  # all that may still be wrong with it
        else:
            known.built = _Built(*cluster_builder.build(wanted, self._parts))
        return known

    def _may_wait(self, wanted: config.Cluster, stat_name: str) -> bool:
        """Whether nothing is different if the cluster comes into being with its first request: no timers, no stats on pages."""
        if wanted.type != "EDS" or wanted.outlier_detection is not None:
            return False
        policy = wanted.round_robin_lb_config or wanted.least_request_lb_config
        if policy is not None and policy.slow_start_config is not None:
            return False
        return not any_registered(self._parts.stats, stat_name)

    def _new_hosts(self, known: _Known, wanted: config.Cluster | None, snapshot: Snapshot) -> _Hosts | None:
        """The endpoints of a cluster where they are others; `wanted` is the definition of a new one."""
        if known.type == "ORIGINAL_DST":
            return None
        if known.type != "EDS":
            if wanted is None:
                return None
            endpoints: object = wanted
            assignment = wanted.load_assignment
        else:
            endpoints = source(snapshot.endpoints, known.endpoints_name)
            if wanted is None and endpoints is known.endpoints:
                return None
            if known.built is None:
                return _Hosts(known, endpoints, 0, None)
            assignment = snapshot.endpoints.get(known.endpoints_name)
        assert known.built is not None
        named = wanted if known.type == "STRICT_DNS" else None
        return _Hosts(known, endpoints, _factor(assignment), known.built.hosts(assignment), named)

    def commit(self, prepared: PreparedClusters) -> None:
        """Make it current. Cannot fail."""
        before, self._known = self._known, prepared.known
        self._snapshot = prepared.snapshot
        for new in prepared.hosts:
            self._take(new)
        built = {name: known.built.cluster for name, known in self._known.items() if known.built is not None}
        self.clusters = ClusterMap(built, self._make)
        self._on_change(self.clusters)
        for name, old in before.items():
            self._retire(name, old)

    def _take(self, new: _Hosts) -> None:
        known, hosts = new.known, new.hosts
        known.endpoints = new.endpoints
        if known.built is None:
            return
        cluster, factor = known.built.cluster, new.factor
        if hosts is None:  # somebody began to use it since this was prepared
            assignment = self._snapshot.endpoints.get(known.endpoints_name)
            hosts, factor = known.built.hosts(assignment), _factor(assignment)
        cluster.overprovisioning = factor
        if new.wanted is None:
            cluster.set_hosts(hosts)
        elif self._resolve is not None:
            self._resolve(cluster, new.wanted, hosts)

    def _retire(self, name: str, old: _Known) -> None:
        current = self._known.get(name)
        if old.built is None or current is old:
            return
        old.built.cluster.drain()
        if current is None:
            prefix = f"cluster.{old.stat_name}."
            # `example.com` goes and `example.com.au` stays.
            others = (f"cluster.{known.stat_name}." for known in self._known.values())
            self._parts.stats.drop(prefix, tuple(one for one in others if one.startswith(prefix)))

    def _make(self, name: str) -> Cluster | None:
        """The cluster of a name that nobody has used so far, in use from now on."""
        known = self._known.get(name)
        if known is None:
            return None
        if known.built is None:
            known.built = self._built(name, known)
        return known.built.cluster

    def _built(self, name: str, known: _Known) -> _Built:
        built = _Built(*cluster_builder.build(self._snapshot.clusters[name], self._parts))
        assignment = self._snapshot.endpoints.get(known.endpoints_name)
        built.cluster.overprovisioning = _factor(assignment)
        built.cluster.set_hosts(built.hosts(assignment))
        return built

    def look(self, name: str) -> tuple[Sequence[Host], OutlierDetector | None]:
        """The hosts of a cluster and its outlier detection, for a page; one that is not in use stays so."""
        known = self._known[name]
        if known.built is not None:
            return known.built.cluster.hosts, known.built.cluster.outlier
        assignment = self._snapshot.endpoints.get(known.endpoints_name)
        return list(cluster_builder.hosts(assignment, _NO_TRANSPORTS, None)), None

    def close(self) -> None:
        for cluster in self.clusters.values():
            cluster.close()

    def __repr__(self) -> str:
        return f"<ClusterManager {len(self._known)} clusters, {len(self.clusters)} in use>"


class _NoTransports:
    """For hosts that are looked at and never connected to."""

    def for_metadata(self, _metadata: Mapping[str, Any]) -> Transport:
        return RAW


_NO_TRANSPORTS = _NoTransports()


def _factor(assignment: ClusterLoadAssignment | None) -> int:
    """The overprovisioning factor, percent."""
    policy = assignment.policy if assignment is not None else None
    return OVERPROVISIONING_FACTOR if policy is None else policy.overprovisioning_factor
