"""What a gateway workload serves: listeners and route tables from Gateways and the VirtualServices bound to them.

A server's port is found as Istio does: when it is a port of a service in front of the gateway, that service's target port is listened
on, else the number itself. Servers of all Gateways on one such port share a listener.
Reference: istio's pilot/pkg/networking/core/gateway.go, pilot/pkg/model/gateway.go (MergeGateways).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from control.compile.access_log import connection_access_log
from control.compile.edge_tls import edge_server
from control.compile.filters import TLS_INSPECTOR, http_connection_manager
from control.compile.http_route import virtual_service_routes
from control.compile.protobuf import CONFIG_SOURCE, LISTENER, Message, socket_address
from control.compile.proxy_headers import proxy_headers
from control.compile.rate_limit import for_port, for_routes
from control.compile.resource import Table
from control.compile.route_match import CATCH_ALL, Audience, is_catch_all
from control.compile.route_table import route_configuration, virtual_host
from control.push.config import GatewayConfig, VirtualServiceConfig
from control.push.context import PushContext
from control.push.proxy import Proxy
from control.resources.gateway import Server, is_http, serves
from control.resources.istio_types import host_matches


class Bound(NamedTuple):
    """A server of a Gateway on the port a gateway workload listens on."""

    gateway: GatewayConfig
    server: Server
    port: int


def servers(context: PushContext, proxy: Proxy) -> dict[int, list[Bound]]:
    """The servers of each listener port, in the order of their Gateways' age. A port is HTTP or TLS as its oldest server is."""
    found: dict[int, list[Bound]] = {}
    for gateway in context.gateways_for(proxy.labels):
        for server in gateway.spec.servers:
            if not serves(server):
                continue
            port = _listener_port(context, proxy, server.port.number)
            others = found.setdefault(port, [])
            if not others or is_http(others[0].server) == is_http(server):
                others.append(Bound(gateway, server, port))
    return found


def _listener_port(context: PushContext, proxy: Proxy, number: int) -> int:
    workload = context.by_ip.get(proxy.ip)
    for service in context.services_of(proxy.namespace, proxy.labels):
        port = service.by_number.get(number)
        target = (workload.port(port.target) if workload else port.target) if port else None
        if isinstance(target, int):
            return target
    return number


def gateway_listeners(context: PushContext, proxy: Proxy) -> Iterator[Message]:
    for port, bound in sorted(servers(context, proxy).items()):
        address = next((entry.server.bind for entry in bound if entry.server.bind), "0.0.0.0")
        if is_http(bound[0].server):
            parts: Message = {
                "filter_chains": [{"filters": [_manager(context, proxy, address, port, f"http.{port}")]}]
            }
        else:
            chains = list(_tls_chains(context, proxy, address, bound))
            parts = {"filter_chains": chains, "listener_filters": [TLS_INSPECTOR]}
        if parts["filter_chains"]:
            yield {
                "@type": LISTENER,
                "name": f"{address}_{port}",
                "address": socket_address(address, port),
                "traffic_direction": "OUTBOUND",
                **parts,
                "access_log": connection_access_log(context.mesh),
            }


def _manager(context: PushContext, proxy: Proxy, address: str, port: int, table: str) -> Message:
    route = {"rds": {"config_source": CONFIG_SOURCE, "route_config_name": table}}
    prefix = f"outbound_{address}_{port}"
    headers = proxy_headers(context.mesh, proxy)
    limit = for_port(context, proxy.namespace, proxy.labels, port) or for_routes(context)
    return http_connection_manager(context.mesh, "gateway", proxy.vanilla, prefix, route, headers, limit)


def _tls_chains(context: PushContext, proxy: Proxy, address: str, bound: list[Bound]) -> Iterator[Message]:
    """One chain per server, by server name. Without its credential a server has none: connections to it are closed."""
    taken: set[str] = set()
    for entry in bound:
        socket = edge_server(context, entry.server.tls, proxy.namespace)
        names = sorted(_hosts(entry.server) - taken)
        if socket is None or not names:
            continue
        taken.update(names)
        chain: Message = {
            "filters": [_manager(context, proxy, address, entry.port, _https_table(entry))],
            "transport_socket": socket,
        }
        if "*" not in names:
            chain["filter_chain_match"] = {"server_names": names}
        yield chain


def _https_table(entry: Bound) -> str:
    source, port = entry.gateway.source, entry.server.port
    return f"https.{port.number}.{port.name}.{source.name}.{source.namespace}"


def gateway_routes(context: PushContext, proxy: Proxy) -> Iterator[Table]:
    for port, bound in sorted(servers(context, proxy).items()):
        if is_http(bound[0].server):
            yield _table(context, proxy, f"http.{port}", bound)
            continue
        for entry in bound:
            yield _table(context, proxy, _https_table(entry), [entry])


def _table(context: PushContext, proxy: Proxy, name: str, bound: list[Bound]) -> Table:
    hosts: dict[str, list[Message]] = {}
    for entry in bound:
        for config in context.virtual_services_at(entry.gateway.key, proxy.namespace):
            routes = _routes(context, proxy, entry, config)
            for host in _bound_hosts(entry, config) if routes else ():
                hosts.setdefault(host, []).extend(routes)
    number = bound[0].server.port.number
    redirects = {host for entry in bound if _redirects(entry.server) for host in _hosts(entry.server)}
    virtual_hosts = [
        _virtual_host(host, number, _last_catch_all(routes), _covered(redirects, host))
        for host, routes in hosts.items()
    ]
    virtual_hosts += [_virtual_host(host, number, [], True) for host in sorted(redirects - hosts.keys())]
    headers = proxy_headers(context.mesh, proxy)
    pieces = [virtual_host(message, headers) for message in virtual_hosts or [_nothing(number)]]
    return route_configuration(name, pieces)


def _redirects(server: Server) -> bool:
    return server.tls is not None and server.tls.httpsRedirect


def _hosts(server: Server) -> set[str]:
    return {host.rpartition("/")[2] for host in server.hosts}


def _covered(wide: set[str], host: str) -> bool:
    return any(host_matches(candidate, host) for candidate in wide)


def _bound_hosts(entry: Bound, config: VirtualServiceConfig) -> list[str]:
    """The hosts of a VirtualService a server takes: the narrower of both names, where they meet."""
    found: dict[str, None] = {}
    for written in entry.server.hosts:
        namespace, _, server_host = written.rpartition("/")
        wanted = {".": entry.gateway.source.namespace, "": "*"}.get(namespace, namespace)
        if wanted not in ("*", config.source.namespace):
            continue
        for host in config.hosts:
            if host_matches(server_host, host):
                found[host] = None
            elif host_matches(host, server_host):
                found[server_host] = None
    return list(found)


def _routes(context: PushContext, proxy: Proxy, entry: Bound, config: VirtualServiceConfig) -> list[Message]:
    audience = Audience(
        proxy.namespace,
        proxy.labels,
        entry.server.port.number,
        frozenset({entry.gateway.key}),
        tls=not is_http(entry.server),
        forwarded_host=proxy_headers(context.mesh, proxy).forwarded_host,
    )
    return virtual_service_routes(context, config, audience)


def _last_catch_all(routes: list[Message]) -> list[Message]:
    """Routes of several VirtualServices for one host follow each other; those that take everything go last."""
    return sorted(routes, key=lambda route: is_catch_all(route["match"]))


def _virtual_host(host: str, number: int, routes: list[Message], redirect: bool) -> Message:
    message: Message = {
        "name": f"{host}:{number}",
        "domains": [host],
        "routes": routes,
    }
    if redirect:
        message["require_tls"] = "ALL"
        # Envoy redirects only requests that some route takes.
        message["routes"] = routes or [{"match": CATCH_ALL, "direct_response": {"status": 404}}]
    return message


def _nothing(number: int) -> Message:
    return {"name": f"blackhole:{number}", "domains": ["*"]}
