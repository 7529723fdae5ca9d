"""`envoy.filters.http.router`: the terminal filter, which hands the stream to the router.

Reference: envoy.extensions.filters.http.router.v3.Router.
"""

from __future__ import annotations

from collections.abc import Awaitable

from proxy.http.stream import Stream
from proxy.router.answered_here import note_destination
from proxy.router.environment import RouterEnvironment
from proxy.router.header_ops import HeaderOps
from proxy.router.route import Route
from proxy.router.router import route_request


class Terminal:
    """The router in this environment."""

    __slots__ = ("_world",)

    def __init__(self, world: RouterEnvironment) -> None:
        self._world = world

    def route(self, stream: Stream, route: Route | None) -> Awaitable[None] | None:
        """Answer a stream that no filter answered; None: done at once."""
        return route_request(self._world, stream, route)

    def note(self, stream: Stream, route: Route) -> tuple[HeaderOps, ...]:
        """What the route means for a stream that a filter answers."""
        return note_destination(self._world, stream, route)
