"""How much may be outstanding towards one cluster at one time.

Counts per cluster and priority, over all hosts; a resource is refused at its maximum. Knows no pools and no sockets.
Reference: Envoy "circuit breaking", source/common/upstream/resource_manager_impl.h (defaults 1024, 1024, 1024, 3).
"""

from __future__ import annotations

from collections.abc import MutableSequence

from proxy.observability.stats import Gauge


class Resource:
    """One limited quantity. `open` is 1 while no more is allowed; `remaining` what is left, None where nobody tracks it."""

    __slots__ = ("count", "limit", "open", "remaining")

    def __init__(self, limit: int, gauge: Gauge, remaining: Gauge | None = None) -> None:
        self.count = 0
        self.limit = limit
        self.open = gauge
        self.remaining = remaining
        if remaining is not None:
            remaining.value = limit

    def allows(self) -> bool:
        return self.count < self.limit

    def take(self) -> None:
        self.count += 1
        if self.count >= self.limit:
            self.open.value = 1
        if self.remaining is not None:
            self.remaining.value = max(0, self.limit - self.count)

    def give_back(self) -> None:
        self.count -= 1
        if self.open.value and self.count < self.limit:
            self.open.value = 0
        if self.remaining is not None:
            self.remaining.value = max(0, self.limit - self.count)

    def __repr__(self) -> str:
        return f"{self.count}/{self.limit}"


class SharedCount:
    """A count that several workers add up: each writes a number of its own, nobody else's. `count` is their sum.

    Reading and then writing it, as `count += 1` does, changes this worker's number by the difference. Two workers may pass
    a limit at the same moment, as two of Envoy's threads may.
    """

    __slots__ = ("_numbers", "_own", "_read")

    def __init__(self, numbers: MutableSequence[int] | memoryview[int], own: int) -> None:
        self._numbers, self._own = numbers, own
        self._read = 0

    def get(self) -> int:
        self._read = sum(self._numbers)
        return self._read

    def set(self, value: int) -> None:
        self._numbers[self._own] += value - self._read
        self._read = value


class SharedResource(Resource):
    """A quantity that all workers of a sidecar take from."""

    __slots__ = ("shared",)

    def __init__(self, shared: SharedCount, limit: int, gauge: Gauge, remaining: Gauge | None = None) -> None:
        self.shared = shared
        super().__init__(limit, gauge, remaining)

    @property
    def count(self) -> int:
        return self.shared.get()

    @count.setter
    def count(self, value: int) -> None:
        self.shared.set(value)


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
