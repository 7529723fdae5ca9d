"""All clusters of this proxy, and how a new snapshot becomes the current one.

A change is prepared whole and then applied at once: `prepare` builds what is new and may refuse, `commit` only swaps.
An unchanged definition keeps its cluster object with pools and counters; a changed one gets a new object while the old
one drains. The mapping handed to the router is replaced, never mutated.
Reference: Envoy source/common/upstream/cluster_manager_impl.cc; reference §18.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.config import cluster as config
from proxy.config.endpoint import ClusterLoadAssignment
from proxy.config.snapshot import Snapshot
from proxy.upstream import cluster_builder
from proxy.upstream.cluster import Cluster
from proxy.upstream.cluster_builder import ClusterParts, TransportChoice
from proxy.upstream.host import Host
from proxy.upstream.host_set import OVERPROVISIONING_FACTOR


@dataclass(slots=True)
class _Known:
    """One cluster with what it was made from."""

    wanted: config.Cluster
    cluster: Cluster
    transports: TransportChoice
    assignment: ClusterLoadAssignment | None = None

    def hosts(self, assignment: ClusterLoadAssignment | None) -> list[Host]:
        service = self.cluster.upstream.service if self.cluster.upstream is not None else None
        return list(cluster_builder.hosts(assignment, self.transports, service))


@dataclass(slots=True)
class PreparedClusters:
    """The outcome of `prepare`, to be handed to `commit`."""

    known: dict[str, _Known] = field(default_factory=dict)
    hosts: list[tuple[_Known, ClusterLoadAssignment | None, list[Host]]] = field(default_factory=list)


# Told of a STRICT_DNS cluster: its definition, and its hosts with names where addresses will be.
Resolve = Callable[[Cluster, config.Cluster, list[Host]], None]


class ClusterManager:
    """`clusters` maps names to clusters and is replaced on every change; `on_change` is told of the new mapping."""

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
        self.clusters: Mapping[str, Cluster] = {}

    def prepare(self, static: Mapping[str, config.Cluster], snapshot: Snapshot) -> PreparedClusters:
        """Build what is new. Raises ConfigError; nothing has changed then. `static` are the bootstrap's clusters."""
        prepared = PreparedClusters()
        for name, wanted in {**snapshot.clusters, **static}.items():
            known = self._known.get(name)
            if known is None or known.wanted is not wanted:
                cluster, transports = cluster_builder.build(wanted, self._parts)
                known = _Known(wanted, cluster, transports)
            prepared.known[name] = known
            assignment = wanted.load_assignment
            if wanted.type == "EDS":
                service = wanted.eds_cluster_config.service_name if wanted.eds_cluster_config else ""
                assignment = snapshot.endpoints.get(service or name)
            fresh = self._known.get(name) is not known
            if wanted.type != "ORIGINAL_DST" and (fresh or assignment is not known.assignment):
                hosts = known.hosts(assignment)
                prepared.hosts.append((known, assignment, hosts))
        return prepared

    def commit(self, prepared: PreparedClusters) -> None:
        """Make it current. Cannot fail."""
        before, self._known = self._known, prepared.known
        for known, assignment, hosts in prepared.hosts:
            known.assignment = assignment
            policy = assignment.policy if assignment is not None else None
            known.cluster.overprovisioning = (
                OVERPROVISIONING_FACTOR if policy is None else policy.overprovisioning_factor
            )
            if known.wanted.type != "STRICT_DNS":
                known.cluster.set_hosts(hosts)
            elif self._resolve is not None:
                self._resolve(known.cluster, known.wanted, hosts)
        self.clusters = {name: known.cluster for name, known in prepared.known.items()}
        self._on_change(self.clusters)
        for name, old in before.items():
            current = self._known.get(name)
            if current is None or current.cluster is not old.cluster:
                old.cluster.drain()
                if current is None:
                    self._parts.stats.drop(f"cluster.{old.wanted.alt_stat_name or name}.")

    def close(self) -> None:
        for cluster in self.clusters.values():
            cluster.close()

    def __repr__(self) -> str:
        return f"<ClusterManager {len(self.clusters)} clusters>"
