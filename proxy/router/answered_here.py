"""What a request's route still means when a filter, not the router, answers it: its log line and what the response carries.

Reference: Envoy source/common/http/filter_manager.cc `prepareLocalReplyViaFilterChain`, conn_manager_impl.cc
`refreshCachedRoute`; reference §5.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from proxy.router.header_ops import HeaderOps
from proxy.router.route import DirectResponse, Route
from proxy.router.stream import DownstreamStream
from proxy.upstream.cluster import Cluster


class World(Protocol):
    """The part of the router's environment that matters here."""

    @property
    def clusters(self) -> Mapping[str, Cluster]: ...

    @property
    def draw(self) -> Callable[[], float]: ...


def note_destination(stream: DownstreamStream, route: Route, world: World) -> tuple[HeaderOps, ...]:
    """Draw the destination, note route and cluster, if it exists; returns the operations on the response, none for routes that answer themselves."""
    info, action = stream.info, route.action
    info.route_name = route.name or None
    if isinstance(action, DirectResponse):
        return ()
    target = stream.target = stream.target or action.pick(world.draw())
    cluster = world.clusters.get(target.cluster)
    if cluster is not None:
        info.upstream_cluster = target.cluster
        info.upstream_metadata = cluster.upstream
    return target.response_ops
