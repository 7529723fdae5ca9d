"""A route as the data path uses it: everything resolvable was resolved when the route table arrived.

Values only. `proxy.router.route_builder` makes them from the typed configuration.
Reference: Envoy envoy.config.route.v3.Route; source/common/router/config_impl.h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.router.hash_policy import HashPolicy
from proxy.router.header_ops import HeaderOps
from proxy.router.retry import RetryPolicy
from proxy.router.route_stats import RouteStats
from proxy.router.timeouts import GrpcTimeout, StreamDuration, Timeouts

PathRewrite = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class ClusterTarget:
    """A destination of a route. `upto` is its cumulative weight.

    The first `own_ops` of `request_ops` are the destination's own; its host is set between them and the route's.
    `steers`: they set headers by which a request asks for retries.
    """

    cluster: str
    upto: int
    request_ops: tuple[HeaderOps, ...]
    response_ops: tuple[HeaderOps, ...]
    host_rewrite: bytes | None = None
    own_ops: int = 0
    filter_config: Mapping[str, Any] | None = None
    steers: bool = False


@dataclass(frozen=True, slots=True)
class MirrorPolicy:
    """A cluster that gets a copy. `share` of the requests, 0 to 1; `suffix`: the copy's host is HOST-shadow."""

    cluster: str
    share: float = 1.0
    suffix: bool = False


@dataclass(frozen=True, slots=True)
class ForwardAction:
    """Forward to a cluster. `targets` has more than one element for weighted clusters."""

    targets: tuple[ClusterTarget, ...]
    total_weight: int
    timeouts: Timeouts
    retry: RetryPolicy | None
    grpc_timeout: GrpcTimeout | None = None
    mirrors: tuple[MirrorPolicy, ...] = ()
    hash_policy: HashPolicy | None = None
    rewrite_path: PathRewrite | None = None
    host_rewrite: bytes | None = None
    append_forwarded_host: bool = False
    cluster_not_found_status: int = 503
    attempt_count: bool = False
    attempt_count_in_response: bool = False
    stats: RouteStats | None = None  # of a route with a stat_prefix
    only: ClusterTarget | None = None  # the destination, where there is one
    rewrites: bool = True  # path, host or headers of requests

    def pick(self, draw: float) -> ClusterTarget:
        """The destination of one request; `draw` is uniform in [0, 1)."""
        targets = self.targets
        point = draw * self.total_weight
        for target in targets:
            if point < target.upto:
                return target
        return targets[-1]


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """Answer here. For a redirect `location` computes the target from scheme, authority and path."""

    status: int
    body: bytes
    response_ops: tuple[HeaderOps, ...]
    location: Callable[[bytes, bytes, bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of a route table.

    `filter_config` is what it says to HTTP filters, by their names: None if nothing, also at its destinations. A
    destination has its own where destinations differ.
    """

    name: str
    action: ForwardAction | DirectResponse
    decorator_operation: bytes | None = None
    virtual_host: str = ""
    filter_config: Mapping[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    stream_duration: StreamDuration | None = None
