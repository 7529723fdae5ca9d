"""`virtualInbound`, the listener for what reaches an app: one set of filter chains per port, by TLS and by protocol.

`CHAINS` is the table: for each mutual TLS mode and treatment of a port, what is terminated, what is HTTP, what passes
unread. Reference: istio's pilot/pkg/networking/core/listener_inbound.go, filterchain_options.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from control.compile import alpn, names
from control.compile.access_log import connection_access_log
from control.compile.filters import (
    HTTP_INSPECTOR,
    ORIGINAL_DST,
    TLS_INSPECTOR,
    except_ports,
    http_connection_manager,
    tcp_filters,
)
from control.compile.http_route import default_route
from control.compile.protobuf import LISTENER, Message, duration, socket_address
from control.compile.proxy_headers import proxy_headers
from control.compile.rate_limit import for_port
from control.compile.retry import INBOUND, INBOUND_TIME
from control.compile.tls import mesh_server
from control.push.context import PushContext
from control.push.peer_policy import Mode
from control.push.proxy import Proxy
from control.registry.protocol import Treatment
from control.registry.service import Port, Service

Layer = Literal["http", "tcp"]


class Chain(NamedTuple):
    """One filter chain: what it matches, whether it ends mesh TLS, and how it reads the bytes."""

    transport: Literal["tls", "raw_buffer"]
    protocols: list[str]  # empty: any
    terminate: bool
    layer: Layer


_TLS_HTTP = Chain("tls", alpn.MESH_HTTP, True, "http")
_RAW_HTTP = Chain("raw_buffer", alpn.PLAINTEXT_HTTP, False, "http")
_RAW_TCP = Chain("raw_buffer", [], False, "tcp")
_TLS_UNREAD = Chain("tls", [], False, "tcp")
_ANY_RAW_HTTP = Chain("raw_buffer", [], False, "http")

CHAINS: Mapping[tuple[Mode, Treatment], list[Chain]] = {
    ("STRICT", Treatment.AUTO): [_TLS_HTTP, Chain("tls", [], True, "tcp")],
    ("STRICT", Treatment.HTTP): [Chain("tls", [], True, "http")],
    ("STRICT", Treatment.TCP): [Chain("tls", [], True, "tcp")],
    ("PERMISSIVE", Treatment.AUTO): [
        _TLS_HTTP,
        _RAW_HTTP,
        Chain("tls", alpn.MESH_TCP, True, "tcp"),
        _RAW_TCP,
        _TLS_UNREAD,
    ],
    ("PERMISSIVE", Treatment.HTTP): [Chain("tls", alpn.MESH, True, "http"), _ANY_RAW_HTTP],
    ("PERMISSIVE", Treatment.TCP): [Chain("tls", alpn.MESH, True, "tcp"), _TLS_UNREAD, _RAW_TCP],
    ("DISABLE", Treatment.AUTO): [_RAW_HTTP, _RAW_TCP, _TLS_UNREAD],
    ("DISABLE", Treatment.HTTP): [_ANY_RAW_HTTP],
    ("DISABLE", Treatment.TCP): [_RAW_TCP, _TLS_UNREAD],
}


class InboundPort(NamedTuple):
    """A workload port behind a service."""

    number: int
    service: Service
    port: Port


def inbound_ports(context: PushContext, proxy: Proxy, labels: Mapping[str, str]) -> list[InboundPort]:
    """The ports of a workload. Of two services on one workload port the older one decides the protocol."""
    workload = context.by_ip.get(proxy.ip)
    found: dict[int, InboundPort] = {}
    for service in context.services_of(proxy.namespace, labels):
        for port in service.ports:
            number = workload.port(port.target) if workload else port.target
            if isinstance(number, int) and number not in found:
                found[number] = InboundPort(number, service, port)
    return [found[number] for number in sorted(found)]


def virtual_inbound(
    context: PushContext, proxy: Proxy, labels: Mapping[str, str], ports: list[InboundPort]
) -> Message:
    policy = context.peers.of_workload(proxy.namespace, labels)
    treatments = {entry.number: entry.port.treatment for entry in ports}
    chains = [_black_hole(context, proxy)]
    for entry in ports:
        for chain in CHAINS[policy.of(entry.number), entry.port.treatment]:
            chains.append(_port_chain(context, proxy, labels, entry, chain))
    for number in sorted(policy.ports.keys() - treatments.keys()):
        chains += _passthrough_chains(context, proxy, labels, policy.of(number), number)
    chains += _passthrough_chains(context, proxy, labels, policy.mode, None)
    opaque = {number for number, kind in treatments.items() if kind is Treatment.TCP}
    return {
        "@type": LISTENER,
        "name": names.VIRTUAL_INBOUND,
        "address": socket_address("0.0.0.0", names.INBOUND_PORT),
        "traffic_direction": "INBOUND",
        "listener_filters": [
            ORIGINAL_DST,
            # Where the server speaks first and no TLS can come, waiting for the client's bytes would be for ever.
            except_ports(TLS_INSPECTOR, {n for n in opaque if policy.of(n) == "DISABLE"}),
            except_ports(HTTP_INSPECTOR, opaque),
        ],
        "listener_filters_timeout": duration(context.mesh.protocolDetectionTimeout),
        "continue_on_listener_filters_timeout": True,
        "max_connections_to_accept_per_socket_event": 1,
        "filter_chains": chains,
        "access_log": connection_access_log(context.mesh),
    }


def _black_hole(context: PushContext, proxy: Proxy) -> Message:
    """A connection made to 15006 itself goes nowhere."""
    filters = tcp_filters(context.mesh, proxy.vanilla, names.BLACK_HOLE, cluster=names.BLACK_HOLE)
    match = {"destination_port": names.INBOUND_PORT}
    return {"name": "virtualInbound-blackhole", "filter_chain_match": match, "filters": filters}


def _match(chain: Chain, port: int | None) -> Message:
    match: Message = {"transport_protocol": chain.transport}
    if port is not None:
        match["destination_port"] = port
    if chain.protocols:
        match["application_protocols"] = chain.protocols
    return match


def _filter_chain(
    context: PushContext, name: str, chain: Chain, port: int | None, filters: list[Message]
) -> Message:
    message: Message = {"name": name, "filter_chain_match": _match(chain, port), "filters": filters}
    if chain.terminate:
        protocols = alpn.SERVER_HTTP if chain.layer == "http" else alpn.SERVER_TCP
        message["transport_socket"] = mesh_server(context.mesh.trustDomain, protocols)
    return message


def _port_chain(
    context: PushContext, proxy: Proxy, labels: Mapping[str, str], entry: InboundPort, chain: Chain
) -> Message:
    number = entry.number
    cluster = names.inbound_cluster(number)
    if chain.layer == "tcp":
        filters = tcp_filters(context.mesh, proxy.vanilla, cluster, cluster=cluster)
    else:
        operation = f"{entry.service.hostname}:{entry.port.number}"
        route = _route(context, cluster, f"inbound|http|{entry.port.number}", operation)
        prefix = f"inbound_0.0.0.0_{number}"
        filters = [_manager(context, proxy, labels, prefix, route, number)]
    return _filter_chain(context, f"0.0.0.0_{number}", chain, number, filters)


def _manager(
    context: PushContext,
    proxy: Proxy,
    labels: Mapping[str, str],
    prefix: str,
    route: Message,
    port: int | None,
) -> Message:
    headers = proxy_headers(context.mesh, proxy)
    limit = for_port(context, proxy.namespace, labels, port)
    return http_connection_manager(context.mesh, "inbound", proxy.vanilla, prefix, route, headers, limit)


def _route(context: PushContext, cluster: str, virtual_host: str, operation: str) -> Message:
    host, _, port = operation.rpartition(":")
    route = default_route(context, cluster, host, int(port))
    route["route"] = {"cluster": cluster, **INBOUND_TIME, "retry_policy": INBOUND}
    config = {
        "name": cluster,
        "virtual_hosts": [{"name": virtual_host, "domains": ["*"], "routes": [route]}],
        "validate_clusters": False,
    }
    return {"route_config": config}


def _passthrough_chains(
    context: PushContext, proxy: Proxy, labels: Mapping[str, str], mode: Mode, port: int | None
) -> Iterator[Message]:
    """Ports that no service has: forwarded as they came, under the same rules as a sniffed port."""
    cluster = names.INBOUND_PASSTHROUGH
    for chain in CHAINS[mode, Treatment.AUTO]:
        if chain.layer == "tcp":
            name = names.VIRTUAL_INBOUND
            filters = tcp_filters(context.mesh, proxy.vanilla, cluster, cluster=cluster)
        else:
            name = f"{names.VIRTUAL_INBOUND}-catchall-http"
            route = _route(context, cluster, "inbound|http|0", f"{cluster}:0")
            filters = [_manager(context, proxy, labels, cluster, route, port)]
        yield _filter_chain(context, name, chain, port, filters)
