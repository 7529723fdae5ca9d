"""What the router uses of the world: clusters, clock, randomness, deadlines; and what of it outlives a request.

Values and a registry, no decisions. The composition root makes one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxy.deadlines import Deadlines
from proxy.upstream.cluster import Cluster

if TYPE_CHECKING:
    from proxy.router.mirror import Mirror


@dataclass(slots=True)
class RouterEnvironment:
    """`clusters` is replaced as a whole when configuration changes. `draw` is uniform in [0, 1).

    Awaiting `pause` waits for the next event. `local_address` is this proxy's own IP, in text. `mirrors` are the copies of requests that are under way.
    """

    clusters: Mapping[str, Cluster]
    deadlines: Deadlines
    now: Callable[[], float]
    draw: Callable[[], float]
    pause: Awaitable[None]
    local_address: bytes = b"127.0.0.1"
    mirrors: set[Mirror] = field(default_factory=set)

    def close(self) -> None:
        """Give up what no request waits for any more."""
        for mirror in tuple(self.mirrors):
            mirror.cancel()
