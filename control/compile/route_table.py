"""Route tables of client sidecars: one per HTTP port, one per service whose port is sniffed.

Reference: istio's pilot/pkg/networking/core/httproute.go, core/route/route.go (BuildSidecarVirtualHostWrapper).
"""

from __future__ import annotations

from collections.abc import Iterator

from control.compile import names
from control.compile.hash_policy import with_hash_policy
from control.compile.http_route import default_route, virtual_service_routes
from control.compile.protobuf import ROUTE, Message
from control.compile.proxy_headers import ProxyHeaders, proxy_headers
from control.compile.retry import time_limits
from control.compile.route_match import CATCH_ALL, Audience
from control.push.config import VirtualServiceConfig
from control.push.context import PushContext, best_virtual_service
from control.push.proxy import Proxy
from control.registry.protocol import Treatment
from control.registry.service import Port, Service
from control.resources.istio_types import MESH_GATEWAY

_UNMATCHED_HOSTS_PORT = 80  # where hosts that are no service get their virtual host
_MAX_DIRECT_RESPONSE = 1024 * 1024  # bytes


def route_configuration(name: str, virtual_hosts: list[Message], headers: ProxyHeaders) -> Message:
    if headers.attempt_count:
        counted = {"include_request_attempt_count": True}
        virtual_hosts = [{**host, **counted} if "routes" in host else host for host in virtual_hosts]
    return {
        "@type": ROUTE,
        "name": name,
        "virtual_hosts": virtual_hosts,
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": _MAX_DIRECT_RESPONSE,
    }


def http_ports(context: PushContext, proxy: Proxy) -> list[int]:
    """Ports with a shared HTTP listener: those of HTTP services."""
    ports = {
        port.number
        for service in context.visible_services(proxy.namespace)
        for port in service.ports
        if shared_http(service, port)
    }
    return sorted(ports)


def shared_http(service: Service, port: Port) -> bool:
    """Whether a port is served by the listener all HTTP services of that number share."""
    headless_auto = service.headless and port.treatment is Treatment.AUTO
    return port.treatment is Treatment.HTTP or headless_auto


def domains(service: Service, namespace: str, cluster_domain: str) -> list[str]:
    """The names by which a client in `namespace` may call a service."""
    full = service.hostname
    short = full.removesuffix(f".{cluster_domain}")  # svc.ns.svc
    found = [full, f"{full}.", short, short.removesuffix(".svc")]
    if service.namespace == namespace:
        found.append(service.name)
    if service.headless:
        found.append(f"*.{full}")
    else:
        found.append(service.address)
    return found


def outbound_routes(context: PushContext, proxy: Proxy) -> Iterator[Message]:
    configs = context.virtual_services_at(MESH_GATEWAY, proxy.namespace)
    for port in http_ports(context, proxy):
        hosts = list(_shared_table(context, proxy, configs, port))
        yield route_configuration(str(port), hosts, proxy_headers(context.mesh, proxy))
    for service in context.visible_services(proxy.namespace):
        for service_port in service.ports:
            if service_port.treatment is Treatment.AUTO and not service.headless:
                yield _own_table(context, proxy, configs, service, service_port)


def _shared_table(
    context: PushContext, proxy: Proxy, configs: list[VirtualServiceConfig], port: int
) -> Iterator[Message]:
    taken: set[str] = set()
    for service in context.visible_services(proxy.namespace):
        service_port = service.by_number.get(port)
        if service_port is not None and shared_http(service, service_port):
            names_ = domains(service, proxy.namespace, context.mesh.clusterDomain)
            routes = _service_routes(context, proxy, configs, service, service_port)
            yield from _virtual_host(f"{service.hostname}:{port}", names_, routes, taken)
    if port == _UNMATCHED_HOSTS_PORT:
        yield from _hosts_without_service(context, proxy, configs, taken)
    yield catch_all(context)


def _virtual_host(name: str, wanted: list[str], routes: list[Message], taken: set[str]) -> Iterator[Message]:
    """Envoy refuses a table in which a domain stands twice, so the first keeps it."""
    free = [domain for domain in dict.fromkeys(wanted) if domain not in taken]
    taken.update(free)
    if free:
        yield {
            "name": name,
            "domains": free,
            "routes": routes,
        }


def _own_table(
    context: PushContext,
    proxy: Proxy,
    configs: list[VirtualServiceConfig],
    service: Service,
    port: Port,
) -> Message:
    routes = _service_routes(context, proxy, configs, service, port)
    host = f"{service.hostname}:{port.number}"
    headers = proxy_headers(context.mesh, proxy)
    return route_configuration(host, list(_virtual_host(host, ["*"], routes, set())), headers)


def _service_routes(
    context: PushContext,
    proxy: Proxy,
    configs: list[VirtualServiceConfig],
    service: Service,
    port: Port,
) -> list[Message]:
    """The rules of the VirtualService for the service; without one, or with none for this client, the plain route."""
    found = best_virtual_service(configs, service.hostname)
    if found is not None:
        routes = virtual_service_routes(context, found[0], _audience(context, proxy, port.number))
        if routes:
            return routes
    cluster = names.outbound_cluster(port.number, "", service.hostname)
    route = default_route(context, cluster, service.hostname, port.number)
    action = with_hash_policy(context, proxy.namespace, proxy.labels, route["route"])
    return [{**route, "route": action}]


def _audience(context: PushContext, proxy: Proxy, port: int) -> Audience:
    forwarded_host = proxy_headers(context.mesh, proxy).forwarded_host
    return Audience(
        proxy.namespace, proxy.labels, port, frozenset({MESH_GATEWAY}), forwarded_host=forwarded_host
    )


def _hosts_without_service(
    context: PushContext, proxy: Proxy, configs: list[VirtualServiceConfig], taken: set[str]
) -> Iterator[Message]:
    port = _UNMATCHED_HOSTS_PORT
    for config in configs:
        for host in config.hosts if config.spec.http else ():
            if host in context.by_host or best_virtual_service(configs, host) != (config, host):
                continue
            routes = virtual_service_routes(context, config, _audience(context, proxy, port))
            if routes:
                yield from _virtual_host(f"{host}:{port}", [host], routes, taken)


def catch_all(context: PushContext) -> Message:
    """Hosts nobody knows: forwarded to where they were going, or refused with 502."""
    if context.mesh.outboundTrafficPolicy.mode == "ALLOW_ANY":
        route: Message = {
            "name": "allow_any",
            "match": CATCH_ALL,
            "route": {
                "cluster": names.PASSTHROUGH,
                **time_limits(None),
            },
        }
        name = "allow_any"
    else:
        name = "block_all"
        route = {"name": name, "match": CATCH_ALL, "direct_response": {"status": 502}}
    return {"name": name, "domains": ["*"], "routes": [route]}
