"""All resources of a proxy, from one context.

What a client may call depends on its namespace and kind, and on its labels only where configuration asks for them, so proxies that
agree on these share the outcome, down to the bytes; and what a change did not touch is the outcome of the context before. Invariant:
same context and proxy, same bytes, whatever was compiled earlier.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from control.compile import names
from control.compile.cluster import (
    black_hole_cluster,
    inbound_cluster,
    outbound_clusters,
    passthrough_cluster,
)
from control.compile.gateway import gateway_listeners, gateway_routes
from control.compile.inbound_listener import InboundPort, inbound_ports, virtual_inbound
from control.compile.locality import client_key
from control.compile.outbound_listener import outbound_listeners
from control.compile.part import Part, merged
from control.compile.protobuf import CLUSTER, ENDPOINT, LISTENER, ROUTE, duration
from control.compile.proxy_headers import proxy_headers
from control.compile.resource import Resource, Resources, resource
from control.compile.route_table import outbound_routes
from control.push.context import PushContext
from control.push.proxy import Proxy

ByName = dict[str, Resource]


def compile_proxy(context: PushContext, proxy: Proxy) -> Resources:
    """Listeners, routes, clusters and endpoints. Secrets are the proxy's own affair."""
    return merged(compile_parts(context, proxy))


def compile_parts(context: PushContext, proxy: Proxy) -> tuple[Part, ...]:
    """The same, in parts: first what it shares with the other clients of its view."""
    view = _client_key(context, proxy)
    if proxy.kind == "router":
        return _reachable(context, proxy, view), _gateway(context, proxy)
    return context.memo(view, lambda: _outbound(context, proxy, view)), _own(context, proxy)


def _client_key(context: PushContext, proxy: Proxy) -> Hashable:
    labels = tuple(sorted(proxy.labels.items())) if context.client_labels_matter else ()
    near = client_key(context, proxy)
    return (
        proxy.kind,
        proxy.namespace,
        proxy.vanilla,
        labels,
        near,
        proxy_headers(context.mesh, proxy),
    )


def _named(resources: Iterable[Resource]) -> ByName:
    """The first of a name counts: the oldest service keeps a contested listener."""
    found: ByName = {}
    for one in resources:
        found.setdefault(one.name, one)
    return found


def _outbound(context: PushContext, proxy: Proxy, view: Hashable) -> Part:
    """All a client may call. Each type is made anew only when something it is made from is another."""
    kept, services = context.kept.parts, context.service_index
    clusters, endpoints = _destinations(context, proxy, view)
    rules = (context.destination_rules, context.routing, context.rate_limits)
    # Only the listeners of headless services know addresses of workloads.
    addresses = context.workload_index if services.some_headless else None
    listeners = kept.get(
        ("listeners", view),
        (services, *rules, addresses),
        lambda: _named(outbound_listeners(context, proxy)),
    )
    routes = kept.get(("routes", view), (services, *rules), lambda: _named(outbound_routes(context, proxy)))
    return kept.get(
        ("outbound", view),
        (clusters, endpoints, listeners, routes),
        lambda: Part(
            {
                CLUSTER: {**clusters, **_well_known(context, proxy)},
                ENDPOINT: endpoints,
                LISTENER: listeners,
                ROUTE: routes,
            }
        ),
    )


def _well_known(context: PushContext, proxy: Proxy) -> ByName:
    headers = proxy_headers(context.mesh, proxy)
    connect_timeout = duration(context.mesh.connectTimeout)
    messages = (
        passthrough_cluster(names.PASSTHROUGH, connect_timeout),
        passthrough_cluster(names.INBOUND_PASSTHROUGH, connect_timeout),
        black_hole_cluster(connect_timeout),
    )
    return _named(resource(headers.cluster(message)) for message in messages)


def _destinations(context: PushContext, proxy: Proxy, view: Hashable) -> tuple[ByName, ByName]:
    sources = (context.service_index, context.workload_index, context.destination_rules, context.peers)
    return context.kept.parts.get(
        ("destinations", view), sources, lambda: _compiled_destinations(context, proxy)
    )


def _compiled_destinations(context: PushContext, proxy: Proxy) -> tuple[ByName, ByName]:
    pairs = list(outbound_clusters(context, proxy))
    clusters = _named(cluster for cluster, _ in pairs)
    return clusters, _named(endpoints for _, endpoints in pairs if endpoints is not None)


def _own(context: PushContext, proxy: Proxy) -> Part:
    sources = (
        proxy,
        context.service_index,
        context.by_ip.get(proxy.ip),
        context.destination_rules,
        context.peers,
        context.rate_limits,
    )
    return context.kept.parts.get(("own", proxy.id), sources, lambda: _inbound(context, proxy))


def _inbound(context: PushContext, proxy: Proxy) -> Part:
    """What a workload serves; workloads alike share it."""
    workload = context.by_ip.get(proxy.ip)
    labels = workload.labels if workload else proxy.labels
    ports = inbound_ports(context, proxy, labels)
    listener = _inbound_listener(context, proxy, labels, ports)
    clusters = [_inbound_cluster(context, proxy, entry) for entry in ports]
    return context.kept.inbound.get(
        ("part", listener.digest, *(cluster.digest for cluster in clusters)),
        (listener, *clusters),
        lambda: Part({LISTENER: {listener.name: listener}, CLUSTER: _named(clusters)}),
    )


def _inbound_listener(
    context: PushContext, proxy: Proxy, labels: Mapping[str, str], ports: list[InboundPort]
) -> Resource:
    served = tuple((e.number, e.service.hostname, e.port.number, e.port.treatment) for e in ports)
    headers = proxy_headers(context.mesh, proxy)
    key = ("listener", proxy.namespace, frozenset(labels.items()), proxy.vanilla, headers, served)
    return context.kept.inbound.get(
        key,
        (context.peers, context.rate_limits),
        lambda: resource(virtual_inbound(context, proxy, labels, ports)),
    )


def _inbound_cluster(context: PushContext, proxy: Proxy, entry: InboundPort) -> Resource:
    service, headers = entry.service, proxy_headers(context.mesh, proxy)
    rule = context.destination_rule(service.hostname, service.namespace, {})
    return context.kept.inbound.get(
        ("cluster", service.hostname, entry.port.number, entry.number, headers),
        (service, rule),
        lambda: resource(headers.cluster(inbound_cluster(context, service, entry.port, entry.number))),
    )


def _reachable(context: PushContext, proxy: Proxy, view: Hashable) -> Part:
    """What a gateway may call."""
    clusters, endpoints = _destinations(context, proxy, view)
    black_hole = black_hole_cluster(duration(context.mesh.connectTimeout))
    return context.kept.parts.get(
        ("reachable", view),
        (clusters, endpoints),
        lambda: Part({CLUSTER: {**clusters, **_named([resource(black_hole)])}, ENDPOINT: endpoints}),
    )


def _gateway(context: PushContext, proxy: Proxy) -> Part:
    """What a gateway serves."""
    sources = (
        context.service_index,
        context.workload_index,
        context.routing,
        context.destination_rules,
        context.gateways,
        context.rate_limits,
        context.credentials,
    )
    return context.kept.parts.get(
        (
            "gateway",
            proxy.id,
            frozenset(proxy.labels.items()),
            proxy.vanilla,
            proxy_headers(context.mesh, proxy),
        ),
        sources,
        lambda: Part(
            {
                LISTENER: _named(map(resource, gateway_listeners(context, proxy))),
                ROUTE: _named(gateway_routes(context, proxy)),
            }
        ),
    )
