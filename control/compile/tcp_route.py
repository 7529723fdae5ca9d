"""Opaque connections out of a client: which filter chain, and which clusters.

Reference: istio's pilot/pkg/networking/core/tls.go (buildSidecarOutboundTLSFilterChainOpts, …TCPFilterChainOpts).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from control.compile import names
from control.compile.filters import tcp_filters
from control.compile.hash_policy import tcp_hash_policy
from control.compile.protobuf import Message, duration
from control.compile.route_action import destination_cluster
from control.compile.traffic_policy import effective_policy
from control.push.config import DestinationRuleConfig, VirtualServiceConfig, resolve_gateway, resolve_host
from control.push.context import PushContext
from control.push.proxy import Proxy
from control.registry.service import Port, Service
from control.resources.destination import RouteDestination
from control.resources.istio_types import MESH_GATEWAY
from control.resources.tcp_rule import L4MatchAttributes, TLSMatchAttributes


def tcp_chains(context: PushContext, proxy: Proxy, service: Service, port: Port) -> list[Message]:
    """The chains of a TCP service port: those of VirtualService rules, then the service's own cluster."""
    configs = context.virtual_services_at(MESH_GATEWAY, proxy.namespace)
    found = configs.best(service.hostname)
    chains: list[Message] = []
    if found is not None:
        rules = (*_tls_rules(context, proxy, found[0], port), *_tcp_rules(context, proxy, found[0], port))
        chains = list(first_wins(rules))
    if not chains or "filter_chain_match" in chains[-1]:
        own = names.outbound_cluster(port.number, "", service.hostname)
        chains.append(_chain(context, proxy, {"cluster": own}, own, {}))
    return chains


def has_opaque_rules(config: VirtualServiceConfig) -> bool:
    """Whether a VirtualService says anything of connections that are not read as HTTP."""
    return bool(config.spec.tls or config.spec.tcp)


def destinations(
    context: PushContext, proxy: Proxy, config: VirtualServiceConfig
) -> tuple[Service | DestinationRuleConfig | None, ...]:
    """What the opaque rules of a VirtualService look at in the mesh: where they send to, and the rules for it."""
    routes = [
        route for rule in (*(config.spec.tls or ()), *(config.spec.tcp or ())) for route in rule.route or ()
    ]
    domain, namespace = context.mesh.clusterDomain, config.source.namespace
    hosts = sorted({resolve_host(route.destination.host, namespace, domain).lower() for route in routes})
    rules = (context.destination_rule(host, proxy.namespace, proxy.labels) for host in hosts)
    return (*(context.by_host.get(host) for host in hosts), *rules)


def _target(context: PushContext, routes: list[RouteDestination], namespace: str, port: int) -> Message:
    kept = [route for route in routes if route.weight > 0] if len(routes) > 1 else routes
    clusters = [destination_cluster(context, route.destination, namespace, port) for route in kept]
    if len(clusters) == 1:
        return {"cluster": clusters[0]}
    weighted = [{"name": name, "weight": route.weight} for name, route in zip(clusters, kept, strict=True)]
    return {"weighted_clusters": {"clusters": weighted}}


def _accepts(match: L4MatchAttributes | TLSMatchAttributes, proxy: Proxy, port: Port, namespace: str) -> bool:
    if match.port is not None and match.port != port.number:
        return False
    gateways = {resolve_gateway(name, namespace) for name in match.gateways or (MESH_GATEWAY,)}
    if MESH_GATEWAY not in gateways or (match.sourceNamespace or proxy.namespace) != proxy.namespace:
        return False
    return all(proxy.labels.get(key) == value for key, value in (match.sourceLabels or {}).items())


def _chain(context: PushContext, proxy: Proxy, target: Message, stat_prefix: str, match: Message) -> Message:
    hashed = tcp_hash_policy(context, proxy.namespace, proxy.labels, target)
    times = _times(context, proxy, target)
    filters = tcp_filters(context.mesh, proxy.vanilla, stat_prefix, **target, **times, **hashed)
    return {"filters": filters, **({"filter_chain_match": match} if match else {})}


def _times(context: PushContext, proxy: Proxy, target: Message) -> Message:
    """How long connections may be idle, and last: what the only destination's rule says of all its connections."""
    if "cluster" not in target:
        return {}
    cluster = names.parse_cluster(target["cluster"])
    rule = context.destination_rule(cluster.host, proxy.namespace, proxy.labels)
    if rule is None or not cluster.port:
        return {}
    tcp = effective_policy(rule.spec, None, int(cluster.port)).tcp
    times = {"idle_timeout": tcp.idleTimeout, "max_downstream_connection_duration": tcp.maxConnectionDuration}
    return {name: duration(value) for name, value in times.items() if value}


def first_wins(chains: Iterable[Message]) -> Iterator[Message]:
    """The chains with only what no earlier one takes: Envoy refuses a listener of which two chains match the same."""
    taken: set[tuple[str, str]] = set()
    for chain in chains:
        match: Message = chain.get("filter_chain_match", {})
        free: dict[tuple[str, ...], list[str]] = {}  # names, by the prefixes that are free for them
        for name in match.get("server_names", [""]):
            prefixes = {json.dumps(prefix): None for prefix in match.get("prefix_ranges", [None])}
            left = tuple(prefix for prefix in prefixes if (name, prefix) not in taken)
            taken.update((name, prefix) for prefix in left)
            if left:
                free.setdefault(left, []).append(name)
        for prefixes_left, names_left in free.items():
            yield {**chain, **_criteria(match, names_left, prefixes_left)}


def _criteria(match: Message, names_left: list[str], prefixes_left: tuple[str, ...]) -> Message:
    fields: Message = {}
    if "server_names" in match:
        fields["server_names"] = names_left
    if "prefix_ranges" in match:
        fields["prefix_ranges"] = [json.loads(prefix) for prefix in prefixes_left]
    return {"filter_chain_match": {**match, **fields}} if match else {}


def _tls_rules(
    context: PushContext, proxy: Proxy, config: VirtualServiceConfig, port: Port
) -> Iterator[Message]:
    namespace = config.source.namespace
    for rule in config.spec.tls or ():
        target = _target(context, rule.route or [], namespace, port.number)
        for match in rule.match:
            if _accepts(match, proxy, port, namespace):
                criteria = {"server_names": match.sniHosts, **_prefixes(match.destinationSubnets)}
                yield _chain(context, proxy, target, _stat_prefix(target, config), criteria)


def _tcp_rules(
    context: PushContext, proxy: Proxy, config: VirtualServiceConfig, port: Port
) -> Iterator[Message]:
    namespace = config.source.namespace
    for rule in config.spec.tcp or ():
        target = _target(context, rule.route or [], namespace, port.number)
        for match in rule.match or [L4MatchAttributes()]:
            if not _accepts(match, proxy, port, namespace):
                continue
            criteria = _prefixes(match.destinationSubnets)
            yield _chain(context, proxy, target, _stat_prefix(target, config), criteria)
            if not criteria:
                return


def _stat_prefix(target: Message, config: VirtualServiceConfig) -> str:
    return str(target.get("cluster") or f"{config.source.name}.{config.source.namespace}")


def _prefixes(subnets: list[str] | None) -> Message:
    networks = [ip_network(subnet, strict=False) for subnet in subnets or ()]
    if not networks:
        return {}
    return {
        "prefix_ranges": [
            {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}
            for network in networks
        ]
    }
