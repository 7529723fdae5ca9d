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
from control.compile.route_table import http_ports, shared_http
from control.compile.tcp_route import tcp_chains
from control.push.context import PushContext
from control.push.proxy import Proxy
from control.registry.protocol import Treatment
from control.registry.service import Port, Service

_PLAINTEXT_HTTP_MATCH = {
    "transport_protocol": "raw_buffer",
    "application_protocols": alpn.PLAINTEXT_HTTP,
}


def unknown_target(context: PushContext) -> str:
    """The cluster of connections to addresses nobody knows."""
    mode = context.mesh.outboundTrafficPolicy.mode
    return names.PASSTHROUGH if mode == "ALLOW_ANY" else names.BLACK_HOLE


def outbound_listeners(context: PushContext, proxy: Proxy) -> Iterator[Message]:
    yield _virtual_outbound(context, proxy)
    for port in http_ports(context, proxy):
        yield _shared_http(context, proxy, port)
    for service in context.visible_services(proxy.namespace):
        for service_port in service.ports:
            if not shared_http(service, service_port):
                yield from _service_listeners(context, proxy, service, service_port)


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
