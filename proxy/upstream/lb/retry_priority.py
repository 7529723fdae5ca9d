"""Which priorities a retry turns to: those not tried yet, as far as there are any.

One per request that may be retried; told of each host attempted. Pure.
Reference: Envoy source/extensions/retry/priority/previous_priorities.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.upstream.host import Host
from proxy.upstream.host_set import HostSet
from proxy.upstream.lb.priority_load import PriorityLoad, distribute


class PreviousPriorities:
    """After every `update_frequency` attempts the priorities of the hosts attempted so far are left out."""

    __slots__ = ("_attempted", "_excluded", "_load", "_update_frequency")

    def __init__(self, update_frequency: int) -> None:
        self._update_frequency = update_frequency
        self._attempted: list[Host] = []
        self._excluded: set[int] = set()
        self._load: PriorityLoad | None = None

    def attempted(self, host: Host) -> None:
        self._attempted.append(host)

    def load(self, sets: Sequence[HostSet], original: PriorityLoad) -> PriorityLoad:
        """The load for the next attempt; `original` is the cluster's own."""
        count = len(self._attempted)
        if count < self._update_frequency:
            return original
        if count % self._update_frequency == 0:
            self._excluded |= {host.priority for host in self._attempted}
            self._load = self._without_excluded(sets, original.panic)
        load = self._load
        if load is None or len(load.healthy) != len(sets):
            return original  # nothing was left to choose, or the cluster has other priorities by now
        return load

    def _without_excluded(self, sets: Sequence[HostSet], panic: tuple[bool, ...]) -> PriorityLoad | None:
        """None when nothing at all is available: then the cluster's own way stands."""
        healthy, degraded = self._availabilities(sets)
        if not any(healthy) and not any(degraded):
            self._excluded.clear()
            self._attempted.clear()
            healthy, degraded = self._availabilities(sets)
        if not any(healthy) and not any(degraded):
            return None
        return PriorityLoad(*distribute(healthy, degraded), panic)

    def _availabilities(self, sets: Sequence[HostSet]) -> tuple[list[int], list[int]]:
        kept = [one.priority not in self._excluded for one in sets]
        healthy = [one.availability(one.healthy) if keep else 0 for one, keep in zip(sets, kept, strict=True)]
        degraded = [
            one.availability(one.degraded) if keep else 0 for one, keep in zip(sets, kept, strict=True)
        ]
        return healthy, degraded
