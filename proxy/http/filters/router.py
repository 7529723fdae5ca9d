"""`envoy.filters.http.router`: the terminal filter, which hands the stream to the router.

Reference: envoy.extensions.filters.http.router.v3.Router.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from proxy.http.stream import Stream
from proxy.router.route import Route
from proxy.router.router import RouterEnvironment, route_request

Terminal = Callable[[Stream, Route | None], Awaitable[None] | None]


def terminal(world: RouterEnvironment) -> Terminal:
    """What answers a stream that no filter answered; None: done at once."""
    return partial(route_request, world=world)
