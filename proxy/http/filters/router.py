"""`envoy.filters.http.router`: the terminal filter, which hands the stream to the router.

Reference: envoy.extensions.filters.http.router.v3.Router.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from proxy.http.stream import Stream
from proxy.router.answered_here import note_destination
from proxy.router.environment import RouterEnvironment
from proxy.router.header_ops import HeaderOps
from proxy.router.route import Route
from proxy.router.router import route_request


@dataclass(frozen=True, slots=True)
class Terminal:
    """`route` answers a stream that no filter answered; None: done at once. `note` is for those a filter answers."""

    route: Callable[[Stream, Route | None], Awaitable[None] | None]
    note: Callable[[Stream, Route], tuple[HeaderOps, ...]]


def terminal(world: RouterEnvironment) -> Terminal:
    """The router in this environment."""
    return Terminal(partial(route_request, world), partial(note_destination, world))
