"""Listeners for what leaves an app: the capture listener on 15001, and those it hands connections to.

`virtualOutbound` finds a listener for the original `ip:port`, else for `0.0.0.0:port`, else keeps the connection.
Reference: istio's pilot/pkg/networking/core/listener.go (buildSidecarOutboundListeners).
"""

from __future__ import annotations

from collections.abc import Iterator

from control.compile import alpn, names
from control.compile.access_log import connection_access_log
from control.compile.filters import (
    HTTP_INSPECTOR,
    TLS_INSPECTOR,
    http_connection_manager,
    tcp_filters,
)
from control.compile.protobuf import CONFIG_SOURCE, LISTENER, Message, duration, socket_address
from control.compile.proxy_headers import proxy_headers
from control.compile.rate_limit import for_routes
from control.compile.resource import Resource, resource
from control.compile.route_table import http_ports, unshared_ports
from control.compile.tcp_route import destinations, has_opaque_rules, tcp_chains
from control.push.context import PushContext
from control.push.proxy import Proxy
from control.registry.protocol import Treatment
from control.registry.service import Port, Service
from control.resources.istio_types import MESH_GATEWAY

_PLAINTEXT_HTTP_MATCH = {
    "transport_protocol": "raw_buffer",
    "application_protocols": alpn.PLAINTEXT_HTTP,
}


def unknown_target(context: PushContext) -> str:
    """The cluster of connections to addresses nobody knows."""
    mode = context.mesh.outboundTrafficPolicy.mode
    return names.PASSTHROUGH if mode == "ALLOW_ANY" else names.BLACK_HOLE


def outbound_listeners(context: PushContext, proxy: Proxy) -> Iterator[Resource]:
    yield resource(_virtual_outbound(context, proxy))
    for port in http_ports(context, proxy):
        yield resource(_shared_http(context, proxy, port))
    own = _Own(context, proxy)
    for service, service_port in unshared_ports(context, proxy):
        yield from own.listeners(service, service_port)


class _Own:
    """The listeners of service ports that share none, for one client. Made anew only when something they are made from is another."""

    def __init__(self, context: PushContext, proxy: Proxy) -> None:
        self._context, self._proxy = context, proxy
        self._configs = context.virtual_services_at(MESH_GATEWAY, proxy.namespace)
        labels = frozenset(proxy.labels.items()) if context.client_labels_matter else None
        self._client = (proxy.vanilla, proxy_headers(context.mesh, proxy), for_routes(context) is not None)
        self._who = (proxy.namespace, labels)

    def listeners(self, service: Service, port: Port) -> list[Resource]:
        context, proxy = self._context, self._proxy
        found = self._configs.best(service.hostname)
        rule = context.destination_rule(service.hostname, proxy.namespace, proxy.labels)
        # Only the listeners of headless services know addresses of workloads.
        backends = context.backends(service) if service.headless else None
        key: tuple[object, ...] = (service.hostname, port.number, rule and rule.source, self._client)
        sources: tuple[object, ...] = (service, port, rule, backends)
        if found is not None and has_opaque_rules(found[0]):
            key = (*key, self._who, found[0].source)
            sources = (*sources, found[0], *destinations(context, proxy, found[0]))
        return context.kept.listeners.get(
            key, sources, lambda: [*map(resource, _service_listeners(context, proxy, service, port))]
        )


def _virtual_outbound(context: PushContext, proxy: Proxy) -> Message:
    def chain(name: str, cluster: str) -> Message:
        return {"name": name, "filters": tcp_filters(context.mesh, proxy.vanilla, cluster, cluster=cluster)}

    return {
        "@type": LISTENER,
        "name": names.VIRTUAL_OUTBOUND,
        "address": socket_address("0.0.0.0", names.OUTBOUND_PORT),
        "use_original_dst": True,
        "traffic_direction": "OUTBOUND",
        "filter_chains": [
            {
                # A connection made to 15001 itself would be handed to itself for ever.
                "filter_chain_match": {"destination_port": names.OUTBOUND_PORT},
                **chain("virtualOutbound-blackhole", names.BLACK_HOLE),
            },
            chain("virtualOutbound-catchall-tcp", unknown_target(context)),
        ],
        "access_log": connection_access_log(context.mesh),
    }


def _listener(context: PushContext, address: str, port: int, chains: Message, sniff: bool) -> Message:
    message: Message = {
        "@type": LISTENER,
        "name": f"{address}_{port}",
        "address": socket_address(address, port),
        "bind_to_port": False,
        "traffic_direction": "OUTBOUND",
        **chains,
        "access_log": connection_access_log(context.mesh),
    }
    if sniff:
        message |= {
            "listener_filters": [TLS_INSPECTOR, HTTP_INSPECTOR],
            "listener_filters_timeout": duration(context.mesh.protocolDetectionTimeout),
            "continue_on_listener_filters_timeout": True,
        }
    return message


def _http_chain(context: PushContext, proxy: Proxy, stat_prefix: str, route_name: str) -> Message:
    route = {"rds": {"config_source": CONFIG_SOURCE, "route_config_name": route_name}}
    headers = proxy_headers(context.mesh, proxy)
    manager = http_connection_manager(
        context.mesh, "outbound", proxy.vanilla, stat_prefix, route, headers, for_routes(context)
    )
    return {"filter_chain_match": _PLAINTEXT_HTTP_MATCH, "filters": [manager]}


def _shared_http(context: PushContext, proxy: Proxy, port: int) -> Message:
    target = unknown_target(context)
    chains = {
        "filter_chains": [_http_chain(context, proxy, f"outbound_0.0.0.0_{port}", str(port))],
        "default_filter_chain": {
            "name": "PassthroughFilterChain",
            "filters": tcp_filters(context.mesh, proxy.vanilla, target, cluster=target),
        },
    }
    return _listener(context, "0.0.0.0", port, chains, sniff=True)


def _service_listeners(context: PushContext, proxy: Proxy, service: Service, port: Port) -> Iterator[Message]:
    """One listener at the service's address; for a headless service one at the address of each workload."""
    chains = tcp_chains(context, proxy, service, port)
    *matched, last = chains
    if port.treatment is Treatment.AUTO:
        name = f"{service.hostname}:{port.number}"
        matched.append(_http_chain(context, proxy, f"outbound_{service.address}_{port.number}", name))
        parts: Message = {"filter_chains": matched, "default_filter_chain": last}
        yield _listener(context, service.address, port.number, parts, sniff=True)
        return
    parts = {"filter_chains": matched, "default_filter_chain": last} if matched else {"filter_chains": [last]}
    addresses = [service.address]
    if service.headless:
        addresses = sorted({workload.ip for workload in context.workloads_of(service)})
    for address in addresses:
        listener = _listener(context, address, port.number, parts, sniff=False)
        if any("server_names" in chain.get("filter_chain_match", {}) for chain in matched):
            listener["listener_filters"] = [TLS_INSPECTOR]
        yield listener
