"""All resources of a proxy, from one context.

What a client may call depends on its namespace and kind, and on its labels only where configuration asks for them, so proxies that
agree on these share the outcome, down to the bytes. Invariant: same context and proxy, same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from control.compile import names
from control.compile.cluster import (
    black_hole_cluster,
    inbound_cluster,
    outbound_clusters,
    passthrough_cluster,
)
from control.compile.gateway import gateway_listeners, gateway_routes
from control.compile.inbound_listener import inbound_ports, virtual_inbound
from control.compile.locality import client_key
from control.compile.outbound_listener import outbound_listeners
from control.compile.protobuf import CLUSTER, ENDPOINT, LISTENER, ROUTE, Message, duration
from control.compile.proxy_headers import proxy_headers
from control.compile.route_table import outbound_routes
from control.push.context import PushContext
from control.push.proxy import Proxy


@dataclass(frozen=True, slots=True)
class Resource:
    """One xDS resource as it is sent, and a digest of it."""

    name: str
    body: bytes
    digest: str

    def __repr__(self) -> str:
        return f"<Resource {self.name} {self.digest}>"


Resources = Mapping[str, Mapping[str, Resource]]  # by type URL, then name


def resource(message: Message) -> Resource:
    body = msgspec.json.encode(message)
    name = str(message.get("name") or message.get("cluster_name"))
    return Resource(name, body, hashlib.blake2b(body, digest_size=8).hexdigest())


def compile_proxy(context: PushContext, proxy: Proxy) -> Resources:
    """Listeners, routes, clusters and endpoints. Secrets are the proxy's own affair."""
    if proxy.kind == "router":
        return _gateway(context, proxy)
    outbound = context.memo(_client_key(context, proxy, "outbound"), lambda: _outbound(context, proxy))
    workload = context.by_ip.get(proxy.ip)
    labels = workload.labels if workload else proxy.labels
    ports = inbound_ports(context, proxy, labels)
    listener = resource(virtual_inbound(context, proxy, labels, ports))
    headers = proxy_headers(context.mesh, proxy)
    inbound = (inbound_cluster(context, e.service, e.port, e.number) for e in ports)
    clusters = [resource(headers.cluster(message)) for message in inbound]
    return {
        **outbound,
        LISTENER: {**outbound[LISTENER], listener.name: listener},
        CLUSTER: {**outbound[CLUSTER], **{cluster.name: cluster for cluster in clusters}},
    }


def _client_key(context: PushContext, proxy: Proxy, part: str) -> Hashable:
    labels = tuple(sorted(proxy.labels.items())) if context.client_labels_matter else ()
    near = client_key(context, proxy)
    return (
        part,
        proxy.kind,
        proxy.namespace,
        proxy.vanilla,
        labels,
        near,
        proxy_headers(context.mesh, proxy),
    )


def _named(messages: Iterable[Message]) -> dict[str, Resource]:
    """The first of a name counts: the oldest service keeps a contested listener."""
    found: dict[str, Resource] = {}
    for message in messages:
        made = resource(message)
        found.setdefault(made.name, made)
    return found


def _outbound(context: PushContext, proxy: Proxy) -> Resources:
    clusters, endpoints = _destinations(context, proxy)
    headers = proxy_headers(context.mesh, proxy)
    connect_timeout = duration(context.mesh.connectTimeout)
    well_known = [
        passthrough_cluster(names.PASSTHROUGH, connect_timeout),
        passthrough_cluster(names.INBOUND_PASSTHROUGH, connect_timeout),
        black_hole_cluster(connect_timeout),
    ]
    return {
        CLUSTER: {**clusters, **_named(map(headers.cluster, well_known))},
        ENDPOINT: endpoints,
        LISTENER: _named(outbound_listeners(context, proxy)),
        ROUTE: _named(outbound_routes(context, proxy)),
    }


def _destinations(context: PushContext, proxy: Proxy) -> tuple[dict[str, Resource], dict[str, Resource]]:
    pairs = list(outbound_clusters(context, proxy))
    headers = proxy_headers(context.mesh, proxy)
    return _named(headers.cluster(cluster) for cluster, _ in pairs), _named(
        endpoints for _, endpoints in pairs if endpoints is not None
    )


def _gateway(context: PushContext, proxy: Proxy) -> Resources:
    clusters, endpoints = context.memo(
        _client_key(context, proxy, "destinations"), lambda: _destinations(context, proxy)
    )
    black_hole = _named([black_hole_cluster(duration(context.mesh.connectTimeout))])
    return {
        CLUSTER: {**clusters, **black_hole},
        ENDPOINT: endpoints,
        LISTENER: _named(gateway_listeners(context, proxy)),
        ROUTE: _named(gateway_routes(context, proxy)),
    }
