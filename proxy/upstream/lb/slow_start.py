"""Slow start: a host that has just come gets a growing share of what its weight would give it.

The factor is max(min_weight, (age / window) ^ (1 / aggression)). Time is an argument, in s.
Reference: Envoy "Slow start mode"; load_balancing_policies/common/load_balancer_impl.cc (applySlowStartFactor).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from proxy.upstream.host import Host

_SHORTEST = 0.001  # s: Envoy counts whole milliseconds, at least one


class SlowStart:
    """Of one cluster. `min_weight` is a share of 1."""

    __slots__ = ("_exponent", "_latest", "_min_weight", "_now", "_window")

    def __init__(self, window: float, aggression: float, min_weight: float, now: Callable[[], float]) -> None:
        self._window = window
        self._exponent = 1.0 / (aggression if aggression > 0 else 1.0)
        self._min_weight = min_weight
        self._now = now
        self._latest = float("-inf")  # when the youngest host came

    def enter(self, hosts: Iterable[Host]) -> None:
        """Note when each of these healthy hosts came; those known keep their time."""
        now = self._now()
        for host in hosts:
            if host.healthy_since is None:
                host.healthy_since = now
            self._latest = max(self._latest, host.healthy_since)

    @property
    def active(self) -> bool:
        """Whether any host is still young."""
        return self._now() - self._latest <= self._window

    def factor(self, host: Host) -> float:
        """What to multiply the host's weight with."""
        if host.healthy_since is None:
            return 1.0
        age = self._now() - host.healthy_since
        if age >= self._window:
            return 1.0
        share: float = (max(_SHORTEST, age) / self._window) ** self._exponent
        return max(share, self._min_weight)
