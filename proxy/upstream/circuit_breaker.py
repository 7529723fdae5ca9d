"""How much may be outstanding towards one cluster at one time.

Counts per cluster and priority, over all hosts; a resource is refused at its maximum. Knows no pools and no sockets.
Reference: Envoy "circuit breaking", source/common/upstream/resource_manager_impl.h (defaults 1024, 1024, 1024, 3).
"""

from __future__ import annotations

from collections.abc import MutableSequence

from proxy.observability.stats import Gauge


class SharedCount:
    """A count that several workers add up: each writes a number of its own, nobody else's.

    Two workers may pass a limit at the same moment, as two of Envoy's threads may.
    """

    __slots__ = ("_numbers", "_own")

    def __init__(self, numbers: MutableSequence[int] | memoryview[int], own: int) -> None:
        self._numbers, self._own = numbers, own

    def add(self, change: int) -> int:
        """Change this worker's number; the sum of all."""
        self._numbers[self._own] += change
        return sum(self._numbers)

    def total(self) -> int:
        return sum(self._numbers)


class Resource:
    """One limited quantity. `open` is 1 while no more is allowed; `remaining` what is left, None where nobody tracks it.

    `count` is what this worker took; `shared`, where the sidecar has several, what all of them did.
    """

    __slots__ = ("count", "limit", "open", "remaining", "shared")

    def __init__(
        self, limit: int, gauge: Gauge, remaining: Gauge | None = None, shared: SharedCount | None = None
    ) -> None:
        self.count = 0
        self.limit = limit
        self.open = gauge
        self.remaining = remaining
        self.shared = shared
        if remaining is not None:
            remaining.value = limit

    def allows(self) -> bool:
        return (self.count if self.shared is None else self.shared.total()) < self.limit

    def total(self) -> int:
        """Taken by every worker of this sidecar."""
        return self.count if self.shared is None else self.shared.total()

    def take(self) -> None:
        self.count += 1
        total = self.count if self.shared is None else self.shared.add(1)
        if total >= self.limit:
            self.open.value = 1
        if self.remaining is not None:
            self.remaining.value = max(0, self.limit - total)

    def give_back(self) -> None:
        self.count -= 1
        total = self.count if self.shared is None else self.shared.add(-1)
        if self.open.value and total < self.limit:
            self.open.value = 0
        if self.remaining is not None:
            self.remaining.value = max(0, self.limit - total)

    def __repr__(self) -> str:
        return f"{self.count}/{self.limit}"


class CircuitBreaker:
    """The limits of one priority of a cluster."""

    __slots__ = ("connections", "pending", "requests", "retries")

    def __init__(
        self, connections: Resource, pending: Resource, requests: Resource, retries: Resource
    ) -> None:
        self.connections = connections
        self.pending = pending
        self.requests = requests
        self.retries = retries

    def __repr__(self) -> str:
        return (
            f"<CircuitBreaker cx={self.connections} pending={self.pending}"
            f" rq={self.requests} retry={self.retries}>"
        )
