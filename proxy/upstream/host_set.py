"""The hosts of a cluster by priority and locality, as load balancing sees them at one moment.

Values: a change of membership or health makes new ones. Decides nothing but who counts as healthy or degraded.
Reference: Envoy source/common/upstream/upstream_impl.cc (PrioritySetImpl, HostSetImpl).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from proxy.upstream.host import Host

OVERPROVISIONING_FACTOR = 140  # %; Envoy's default


@dataclass(frozen=True, slots=True)
class LocalityHosts:
    """The hosts of one locality within a priority. `weight` is the locality's own; 0: it has none."""

    weight: int
    hosts: tuple[Host, ...]
    healthy: tuple[Host, ...]
    degraded: tuple[Host, ...]


@dataclass(frozen=True, slots=True)
class HostSet:
    """One priority. A host that is neither in `healthy` nor in `degraded` takes traffic in panic only."""

    priority: int
    hosts: tuple[Host, ...]
    healthy: tuple[Host, ...]
    degraded: tuple[Host, ...]
    localities: tuple[LocalityHosts, ...]
    overprovisioning: int  # %

    def availability(self, hosts: Sequence[Host]) -> int:
        """What share of the priority `hosts` are, in percent with overprovisioning, at most 100."""
        return min(100, self.overprovisioning * len(hosts) // len(self.hosts)) if self.hosts else 0


Place = tuple[str, str, str]
"""Region, zone, sub-zone."""


def host_sets(
    hosts: Iterable[Host], overprovisioning: int = OVERPROVISIONING_FACTOR, here: Place | None = None
) -> tuple[HostSet, ...]:
    """One set per priority from 0 to the lowest that has hosts; at least one. `here` is where the proxy runs."""
    by_priority: dict[int, list[Host]] = {0: []}
    for host in hosts:
        by_priority.setdefault(host.priority, []).append(host)
    return tuple(
        _host_set(priority, by_priority.get(priority, []), overprovisioning, here)
        for priority in range(max(by_priority) + 1)
    )


def _host_set(priority: int, members: Sequence[Host], overprovisioning: int, here: Place | None) -> HostSet:
    hosts, healthy, degraded = _by_health(members)
    return HostSet(priority, hosts, healthy, degraded, tuple(_localities(members, here)), overprovisioning)


def _by_health(members: Sequence[Host]) -> tuple[tuple[Host, ...], tuple[Host, ...], tuple[Host, ...]]:
    available = [host for host in members if host.available]
    return (
        tuple(members),
        tuple(host for host in available if not host.degraded),
        tuple(host for host in available if host.degraded),
    )


def _localities(members: Sequence[Host], here: Place | None) -> Iterator[LocalityHosts]:
    """The proxy's own first, then in the order of their names: what a hash table is made of depends on it."""
    found: dict[Place, list[Host]] = {}
    for host in members:
        found.setdefault(host.locality, []).append(host)
    for _, hosts in sorted(found.items(), key=lambda item: (item[0] != here, item[0])):
        yield LocalityHosts(hosts[0].locality_weight, *_by_health(hosts))
