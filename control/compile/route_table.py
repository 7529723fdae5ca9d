"""Route tables of client sidecars: one per HTTP port, one per service whose port is sniffed.

Reference: istio's pilot/pkg/networking/core/httproute.go, core/route/route.go (BuildSidecarVirtualHostWrapper).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

from control.compile import names
from control.compile.hash_policy import with_hash_policy
from control.compile.http_route import default_route, destination_hosts, virtual_service_routes
from control.compile.protobuf import ROUTE, Message
from control.compile.proxy_headers import ProxyHeaders, proxy_headers
from control.compile.resource import Piece, Table, table
from control.compile.retry import time_limits
from control.compile.route_match import CATCH_ALL, Audience
from control.push.config import VirtualServiceConfig
from control.push.context import PushContext
from control.push.proxy import Proxy
from control.registry.protocol import Treatment
from control.registry.service import Port, Service
from control.resources.istio_types import MESH_GATEWAY

_UNMATCHED_HOSTS_PORT = 80  # where hosts that are no service get their virtual host
_MAX_DIRECT_RESPONSE = 1024 * 1024  # bytes


def route_configuration(name: str, virtual_hosts: list[Piece]) -> Table:
    message: Message = {
        "@type": ROUTE,
        "name": name,
        "virtual_hosts": [],
        "validate_clusters": False,
        "ignore_port_in_host_matching": True,
        "max_direct_response_body_size_bytes": _MAX_DIRECT_RESPONSE,
    }
    return table(message, virtual_hosts)


def virtual_host(message: Message, headers: ProxyHeaders) -> Piece:
    counted = headers.attempt_count and "routes" in message
    return Piece({**message, "include_request_attempt_count": True} if counted else message)


def http_ports(context: PushContext, proxy: Proxy) -> list[int]:
    """Ports with a shared HTTP listener: those of HTTP services."""
    return _ports(context, proxy.namespace).shared


def unshared_ports(context: PushContext, proxy: Proxy) -> list[tuple[Service, Port]]:
    """Ports of services that have a listener of their own."""
    return _ports(context, proxy.namespace).unshared


class _Ports(NamedTuple):
    """The numbers that HTTP services share, the service ports that share none, and those of them with a route table."""

    shared: list[int]
    unshared: list[tuple[Service, Port]]
    sniffed: list[tuple[Service, Port]]


def _ports(context: PushContext, namespace: str) -> _Ports:
    def make() -> _Ports:
        every = [(one, port) for one in context.visible_services(namespace) for port in one.ports]
        shared = {port.number for one, port in every if shared_http(one, port)}
        unshared = [(one, port) for one, port in every if not shared_http(one, port)]
        sniffed = [(one, port) for one, port in unshared if port.treatment is Treatment.AUTO]
        return _Ports(sorted(shared), unshared, sniffed)

    return context.kept.names.get(("ports", namespace), (context.service_index,), make)


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


def outbound_routes(context: PushContext, proxy: Proxy) -> Iterator[Table]:
    client = _Client(context, proxy)
    for port in http_ports(context, proxy):
        yield route_configuration(str(port), list(client.shared_hosts(port)))
    for service, service_port in _ports(context, proxy.namespace).sniffed:
        yield client.own_table(service, service_port)


class _Client:
    """Virtual hosts as one client is to see them. One is made anew only when something it is made from is another."""

    def __init__(self, context: PushContext, proxy: Proxy) -> None:
        self._context, self._proxy = context, proxy
        self._configs = context.virtual_services_at(MESH_GATEWAY, proxy.namespace)
        self._headers = proxy_headers(context.mesh, proxy)
        labels = frozenset(proxy.labels.items()) if context.client_labels_matter else None
        self._who = (proxy.namespace, labels, self._headers)
        self._seen: dict[int, tuple[object, ...]] = {}  # by the identity of a VirtualService

    def shared_hosts(self, port: int) -> Iterator[Piece]:
        """Those of all HTTP services with this port, in the one table they share."""
        named, taken = _names(self._context, self._proxy.namespace, port)
        for service, service_port, free in named:
            yield self.service_host(service, service_port, free)
        if port == _UNMATCHED_HOSTS_PORT:
            yield from self._hosts_without_service(set(taken))
        yield virtual_host(catch_all(self._context), self._headers)

    def service_host(self, service: Service, port: Port, free: tuple[str, ...]) -> Piece:
        """The host of a service, by the names that are free for it."""
        found = self._configs.best(service.hostname)
        # A VirtualService without a rule for this client leaves the plain route, which asks for it, too.
        rule = self._context.destination_rule(service.hostname, self._proxy.namespace, self._proxy.labels)
        name = f"{service.hostname}:{port.number}"
        key: Hashable
        sources: tuple[object, ...]
        if found is None:
            key, sources = (name, free, self._headers, rule and rule.source), (service, port, rule)
        else:
            key = (name, free, self._who, found[0].source)
            sources = (service, port, rule, found[0], *self._looked_at(found[0]))

        def make() -> Piece:
            routes = self._service_routes(service, port, found[0] if found is not None else None)
            return self._host(name, free, routes)

        return self._context.kept.hosts.get(key, sources, make)

    def own_table(self, service: Service, port: Port) -> Table:
        """The table of a port that shares none."""
        name, host = f"{service.hostname}:{port.number}", self.service_host(service, port, ("*",))
        key = ("table", name, host.digest)
        return self._context.kept.hosts.get(key, (), lambda: route_configuration(name, [host]))

    def _looked_at(self, config: VirtualServiceConfig) -> tuple[object, ...]:
        """What the rules of a VirtualService look at in the mesh."""
        found = self._seen.get(id(config))
        if found is None:
            context, proxy = self._context, self._proxy
            hosts = destination_hosts(config, context.mesh.clusterDomain)
            services = (context.by_host.get(host) for host in hosts)
            rules = (context.destination_rule(host, proxy.namespace, proxy.labels) for host in hosts)
            found = self._seen[id(config)] = (context.rate_limits, *services, *rules)
        return found

    def _host(self, name: str, free: tuple[str, ...], routes: list[Message]) -> Piece:
        return virtual_host({"name": name, "domains": list(free), "routes": routes}, self._headers)

    def _service_routes(
        self, service: Service, port: Port, config: VirtualServiceConfig | None
    ) -> list[Message]:
        """The rules of the VirtualService for the service; without one, or with none for this client, the plain route."""
        context, proxy = self._context, self._proxy
        if config is not None:
            routes = virtual_service_routes(context, config, self._audience(port.number))
            if routes:
                return routes
        cluster = names.outbound_cluster(port.number, "", service.hostname)
        route = default_route(context, cluster, service.hostname, port.number)
        action = with_hash_policy(context, proxy.namespace, proxy.labels, route["route"])
        return [{**route, "route": action}]

    def _audience(self, port: int) -> Audience:
        proxy, forwarded_host = self._proxy, self._headers.forwarded_host
        gateways = frozenset({MESH_GATEWAY})
        return Audience(proxy.namespace, proxy.labels, port, gateways, forwarded_host=forwarded_host)

    def _hosts_without_service(self, taken: set[str]) -> Iterator[Piece]:
        port = _UNMATCHED_HOSTS_PORT
        for config in self._configs:
            for host in config.hosts if config.spec.http else ():
                if host in self._context.by_host or self._configs.best(host) != (config, host):
                    continue
                routes = virtual_service_routes(self._context, config, self._audience(port))
                free = _free([host], taken) if routes else ()
                if free:
                    yield self._host(f"{host}:{port}", free, routes)


Named = list[tuple[Service, Port, tuple[str, ...]]]


def _names(context: PushContext, namespace: str, port: int) -> tuple[Named, set[str]]:
    """The services of a shared table, each with the names that are free for it; and all names taken."""

    def make() -> tuple[Named, set[str]]:
        found: Named = []
        taken: set[str] = set()
        for service in context.visible_services(namespace):
            own = service.by_number.get(port)
            if own is not None and shared_http(service, own):
                free = _free(domains(service, namespace, context.mesh.clusterDomain), taken)
                if free:
                    found.append((service, own, free))
        return found, taken

    return context.kept.names.get(("names", namespace, port), (context.service_index,), make)


def _free(wanted: list[str], taken: set[str]) -> tuple[str, ...]:
    """Envoy refuses a table in which a domain stands twice, so the first keeps it."""
    free = tuple(domain for domain in dict.fromkeys(wanted) if domain not in taken)
    taken.update(free)
    return free


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
