"""Where a route sends requests: clusters with their share of requests, and the endpoints of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from control.compile import names
from control.explain.resources import Configuration, Message


@dataclass(frozen=True, slots=True)
class EndpointView:
    """One host of a cluster; `weight` within its priority."""

    address: str
    workload: str = ""
    health: str = "HEALTHY"
    locality: str = ""
    priority: int = 0
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Destination:
    """A cluster; `share` of the requests it gets, 0 to 1. `outcome` says what comes of a request when it is not an answer."""

    cluster: str
    share: float
    host: str
    subset: str
    port: str
    endpoints: list[EndpointView] = field(default_factory=list)
    outcome: str = ""


def destinations(
    configuration: Configuration, shares: list[tuple[str, int]], original: str
) -> list[Destination]:
    """`shares` are cluster names with weights; `original` is the address the connection was made to."""
    total = sum(weight for _, weight in shares) or 1
    return [_destination(configuration, name, weight / total, original) for name, weight in shares]


def shares_of(action: Message) -> list[tuple[str, int]]:
    """The clusters of a route action, or of a TCP proxy."""
    if action.get("cluster"):
        return [(action["cluster"], 1)]
    clusters = (action.get("weighted_clusters") or {}).get("clusters") or ()
    return [(one["name"], int(one.get("weight", 0))) for one in clusters if one.get("weight")]


def _destination(configuration: Configuration, name: str, share: float, original: str) -> Destination:
    parts = names.parse_cluster(name)
    cluster = configuration.clusters.get(name)
    endpoints: list[EndpointView] = []
    outcome = ""
    if cluster is None:
        outcome = "503 NC: there is no such cluster; is the subset in a DestinationRule, the host a service with this port?"
    elif cluster.get("type") == "ORIGINAL_DST":
        endpoints = [EndpointView(original)]
    else:
        endpoints = list(_endpoints(configuration, cluster))
        if not endpoints:
            outcome = "503 UH: no healthy upstream, the cluster has no endpoints"
    return Destination(name, share, parts.host, parts.subset, parts.port, endpoints, outcome)


def _endpoints(configuration: Configuration, cluster: Message) -> Iterator[EndpointView]:
    named = (cluster.get("eds_cluster_config") or {}).get("service_name") or cluster["name"]
    assignment: Message = cluster.get("load_assignment") or configuration.endpoints.get(named) or {}
    for group in assignment.get("endpoints") or ():
        place = group.get("locality") or {}
        locality = "/".join(filter(None, (place.get(part) for part in ("region", "zone", "sub_zone"))))
        for entry in group.get("lb_endpoints") or ():
            address: Any = entry["endpoint"]["address"].get("socket_address") or {}
            metadata = ((entry.get("metadata") or {}).get("filter_metadata") or {}).get("istio") or {}
            yield EndpointView(
                address=f"{address.get('address')}:{address.get('port_value')}",
                workload=str(metadata.get("workload") or "").partition(";")[0],
                health=str(entry.get("health_status") or "HEALTHY"),
                locality=locality,
                priority=int(group.get("priority") or 0),
                weight=int(entry.get("load_balancing_weight") or 1),
            )
