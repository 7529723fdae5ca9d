"""How much may be outstanding towards one cluster at one time.

Counts per cluster and priority, over all hosts; a resource is refused at its maximum. Knows no pools and no sockets.
Reference: Envoy "circuit breaking", source/common/upstream/resource_manager_impl.h (defaults 1024, 1024, 1024, 3).
"""

from __future__ import annotations

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
