"""How much of the traffic each priority gets, and which priorities are in panic.

A priority is full while its available hosts, times the overprovisioning factor, are all of it; what it cannot take spills to the next.
Integer arithmetic throughout, as Envoy's, so that the percentages are the same. Pure.
Reference: Envoy source/extensions/load_balancing_policies/common/load_balancer_impl.cc (recalculatePerPriorityState and -Panic).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.upstream.host_set import HostSet

PANIC_THRESHOLD = 50  # %; Envoy's default


@dataclass(frozen=True, slots=True)
class PriorityLoad:
    """Percent of the traffic by priority, to healthy and to degraded hosts; all add up to 100."""

    healthy: tuple[int, ...]
    degraded: tuple[int, ...]
    panic: tuple[bool, ...]

    def choose(self, number: int) -> tuple[int, bool]:
        """The priority for a number drawn at random or a hash, and whether its degraded hosts are meant."""
        point = number % 100 + 1
        if point <= self.healthy[0]:
            return 0, False
        for degraded, loads in ((False, self.healthy), (True, self.degraded)):
            for priority, load in enumerate(loads):
                point -= load
                if point <= 0:
                    return priority, degraded
        raise AssertionError(f"the loads of {self} do not add up to 100")


def priority_load(sets: Sequence[HostSet], panic_threshold: int) -> PriorityLoad:
    """`panic_threshold` in percent; 0: never panic."""
    healthy = [one.availability(one.healthy) for one in sets]
    degraded = [one.availability(one.degraded) for one in sets]
    total = min(100, sum(healthy) + sum(degraded))
    panic = tuple(total < 100 and _in_panic(one, panic_threshold) for one in sets)
    if all(panic):
        return PriorityLoad(_by_size(sets), (0,) * len(sets), panic)
    if total == 0:
        return PriorityLoad(_all_to_first(sets), (0,) * len(sets), panic)
    return PriorityLoad(*distribute(healthy, degraded), panic)


def distribute(healthy: Sequence[int], degraded: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The loads for these availabilities: healthy hosts first, in order of priority. Some must be available."""
    total = min(100, sum(healthy) + sum(degraded))
    rest = 100
    loads = []
    for availability in (*healthy, *degraded):
        load = min(rest, availability * 100 // total)
        loads.append(load)
        rest -= load
    if rest:  # lost by rounding
        loads[next(i for i, share in enumerate((*healthy, *degraded)) if share)] += rest
    return tuple(loads[: len(healthy)]), tuple(loads[len(healthy) :])


def _in_panic(one: HostSet, threshold: int) -> bool:
    available = len(one.healthy) + len(one.degraded)
    return (100.0 * available / len(one.hosts) if one.hosts else 0.0) < threshold


def _all_to_first(sets: Sequence[HostSet]) -> tuple[int, ...]:
    return (100, *(0 for _ in sets[1:]))


def _by_size(sets: Sequence[HostSet]) -> tuple[int, ...]:
    """Everything panics: each priority gets traffic by the number of its hosts, whatever their health."""
    total = sum(len(one.hosts) for one in sets)
    if not total:
        return _all_to_first(sets)
    loads = [100 * len(one.hosts) // total for one in sets]
    loads[next(i for i, one in enumerate(sets) if one.hosts)] += 100 - sum(loads)
    return tuple(loads)
