"""`envoy.filters.http.router`: the terminal filter, which hands the stream to the router.

Reference: envoy.extensions.filters.http.router.v3.Router.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from proxy.http.stream import Stream
from proxy.router.router import RouterEnvironment, route_request


def terminal(world: RouterEnvironment) -> Callable[[Stream], Awaitable[None]]:
    """What answers a stream that no filter answered."""

    def answer(stream: Stream) -> Awaitable[None]:
        return route_request(stream, stream.route, world)

    return answer
