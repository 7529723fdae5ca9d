"""Requests that no upstream answers: by their route, for want of a cluster, or by a filter; what the route still means then.

Reference: Envoy source/common/http/filter_manager.cc `prepareLocalReplyViaFilterChain`, conn_manager_impl.cc
`refreshCachedRoute`; reference §5.4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from proxy.observability import response_flags as flags
from proxy.router.header_ops import HeaderOps, apply_to_local_reply
from proxy.router.route import ClusterTarget, DirectResponse, ForwardAction, Route
from proxy.router.stream import DownstreamStream, Headers
from proxy.upstream.cluster import Cluster
from proxy.upstream.cluster_map import find


class World(Protocol):
    """The part of the router's environment that matters here."""

    @property
    def clusters(self) -> Mapping[str, Cluster]: ...

    @property
    def draw(self) -> Callable[[], float]: ...


def note_destination(world: World, stream: DownstreamStream, route: Route) -> tuple[HeaderOps, ...]:
    """Draw the destination, note route and cluster, if it exists; returns the operations on the response, none for routes that answer themselves."""
    info, action = stream.info, route.action
    info.route_name = route.name or None
    if isinstance(action, DirectResponse):
        return ()
    target = stream.target = stream.target or action.pick(world.draw())
    cluster = find(world.clusters, target.cluster)
    if cluster is not None:
        info.upstream_cluster = target.cluster
        info.upstream_metadata = cluster.upstream
    return target.response_ops


def answer_directly(stream: DownstreamStream, action: DirectResponse) -> None:
    """A direct response or a redirect."""
    headers: Headers = []
    if action.location is not None:
        headers.append((b"location", action.location(stream.scheme, stream.authority, stream.path)))
    if action.response_ops:
        apply_to_local_reply(action.response_ops, 0, "direct_response", headers, stream.info)
    stream.send_local_reply(action.status, action.body, 0, "direct_response", headers)


def answer_without_cluster(stream: DownstreamStream, action: ForwardAction, target: ClusterTarget) -> None:
    """The route's cluster does not exist."""
    headers: Headers = []
    if target.response_ops:
        apply_to_local_reply(target.response_ops, flags.NC, "cluster_not_found", headers, stream.info)
    stream.send_local_reply(action.cluster_not_found_status, b"", flags.NC, "cluster_not_found", headers)
