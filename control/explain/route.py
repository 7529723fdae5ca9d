"""The way of one request through a client's proxy: listener, filter chain, virtual host, route, clusters; and why not by an earlier rule.

Every decision is made by the sidecar's own code (`FilterChainMatcher`, `http_protocol`, `normalize`, `RouteTable.explain`) on
the resources the control plane has for the proxy, so it cannot disagree with what traffic does. Rules that the control plane
left out of the table, because they are not for this client, are told from the VirtualService.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from control.compile import names
from control.compile.protobuf import ROUTE
from control.compile.route_match import Audience
from control.explain import action
from control.explain.connection import NoListener, Reached, reach
from control.explain.destinations import Destination, destinations, shares_of
from control.explain.request import Asked, is_address, service_name
from control.explain.resources import Configuration, Message, typed
from control.push.config import VirtualServiceConfig
from control.push.proxy import Proxy
from control.push.virtual_services import Bound
from control.resources.istio_types import MESH_GATEWAY
from proxy.config.network_filters import HttpConnectionManager
from proxy.config.route import Route, RouteConfiguration
from proxy.http.path_normalization import EscapedSlashes, PathRedirect, PathRefused, normalize, suspect
from proxy.router.conditions import conditions
from proxy.router.matcher import RouteTable, without_port


@dataclass(frozen=True, slots=True)
class Mesh:
    """What is known of the mesh beside a proxy's resources. `addresses` are services' by host name, empty for headless ones."""

    addresses: Mapping[str, str]
    domain: str = "cluster.local"
    virtual_services: tuple[VirtualServiceConfig, ...] = ()


@dataclass(frozen=True, slots=True)
class PassedOver:
    """An earlier rule and why it did not take the request. `number` is its place in the table, None if it is not in it."""

    number: int | None
    name: str
    rule: str
    why: str


@dataclass(slots=True)
class Explanation:
    """What was found; empty where the way ended before. `outcome` is what the client gets when nothing is forwarded."""

    request: str
    address: str = ""
    listener: str = ""
    listener_why: str = ""
    saw: str = ""
    filter_chain: str = ""
    route_table: str = ""
    virtual_host: str = ""
    domain: str = ""
    passed_over: list[PassedOver] = field(default_factory=list)
    route: str = ""
    route_number: int | None = None
    virtual_service: str = ""
    rule: str = ""
    matched: list[str] = field(default_factory=list)
    does: list[str] = field(default_factory=list)
    destinations: list[Destination] = field(default_factory=list)
    outcome: str = ""
    notes: list[str] = field(default_factory=list)


def explain(configuration: Configuration, mesh: Mesh, proxy: Proxy, asked: Asked) -> Explanation:
    """Never raises for a request; what cannot be used in the configuration raises ConfigError."""
    found = Explanation(request=f"{asked.method} {asked.url}")
    gateway = proxy.kind == "router"
    address = None if gateway else _address(configuration, mesh, proxy, asked, found)
    try:
        reached = reach(configuration, asked, address, gateway=gateway)
    except NoListener as error:
        found.outcome = str(error)
        return found
    found.listener, found.listener_why, found.saw = reached.listener, reached.why, reached.saw
    if reached.chain is None:
        found.outcome = "connection closed: no filter chain takes it (NR, filter_chain_not_found)"
        return found
    found.filter_chain = reached.chain
    if reached.http is not None:
        _http(configuration, mesh, proxy, asked, reached.http, found)
    else:
        _tcp(configuration, asked, reached, found)
    return found


def _address(
    configuration: Configuration, mesh: Mesh, proxy: Proxy, asked: Asked, found: Explanation
) -> str | None:
    if is_address(asked.host):
        found.address = asked.host
        return asked.host
    service = service_name(asked.host, mesh.addresses, proxy.namespace, mesh.domain)
    if service is None:
        found.notes.append(f"{asked.host} is no service of the mesh: DNS outside it says where it is")
        return None
    address = mesh.addresses[service]
    if not address:  # headless: its name leads to the pods
        (only,) = destinations(configuration, [(names.outbound_cluster(asked.port, "", service), 1)], "")
        address = only.endpoints[0].address.rpartition(":")[0] if only.endpoints else ""
        found.notes.append(f"{service} is headless: its name leads to its pods, of which this is one")
    found.address = address
    return address or None


def _tcp(configuration: Configuration, asked: Asked, reached: Reached, found: Explanation) -> None:
    assert reached.tcp is not None
    tcp = reached.tcp
    shares = [(tcp.cluster, 1)] if tcp.cluster is not None else []
    if tcp.weighted_clusters is not None:
        shares = [(one.name, one.weight) for one in tcp.weighted_clusters.clusters]
    found.destinations = destinations(configuration, shares, _original(asked, found))
    found.notes.append("bytes are passed on as they are: HTTP rules do not apply")
    if any(cluster == names.BLACK_HOLE for cluster, _ in shares):
        found.outcome = "connection closed: REGISTRY_ONLY, and nobody knows this address"
    elif any(cluster == names.PASSTHROUGH for cluster, _ in shares):
        found.notes.append("outboundTrafficPolicy ALLOW_ANY: to where it was going")


def _original(asked: Asked, found: Explanation) -> str:
    return f"{found.address or asked.host}:{asked.port}"


def _http(
    configuration: Configuration,
    mesh: Mesh,
    proxy: Proxy,
    asked: Asked,
    manager: HttpConnectionManager,
    found: Explanation,
) -> None:
    if asked.method == "CONNECT":
        found.outcome = "404 NR, route_not_found: no route takes CONNECT"
        return
    path = _normalized(asked, manager, found)
    if path is None:
        return
    asked = _with_path(asked, path)
    table = _table(configuration, manager, found)
    if table is None:
        return
    request = {
        "headers": [("host", asked.authority), *asked.headers, ("x-forwarded-proto", asked.scheme)],
        "authority": asked.authority,
        "path": asked.path,
        "method": asked.method,
        "scheme": asked.scheme,
    }
    chosen = _choose(table, request)
    found.virtual_host = chosen.virtual_host or ""
    host = next((one for one in table.virtual_hosts if one.name == chosen.virtual_host), None)
    if host is None:
        found.outcome = f"404 NR: no virtual host is for {asked.authority or 'an empty Host'}"
        return
    found.domain = _domain(host.domains, asked.authority)
    message = _messages(configuration, table, host.name)
    routes = message[: chosen.route] if chosen.route is not None else message
    found.passed_over = [
        PassedOver(number, str(one.get("name") or ""), _rule(one), why)
        for number, (one, why) in enumerate(zip(routes, chosen.refusals, strict=False))
    ]
    if chosen.route is None:
        _left_out(mesh, proxy, asked, message, found)
        redirected = any(why.startswith("require_tls") for why in chosen.refusals)
        found.outcome = (
            f"301 to https://{asked.authority}{asked.path}: the server redirects to https"
            if redirected
            else "404 NR, route_not_found: the virtual host has no route for it"
        )
        return
    _taken(configuration, asked, message[chosen.route], host.routes[chosen.route], found)
    found.route_number = chosen.route
    _left_out(mesh, proxy, asked, message, found)


def _taken(
    configuration: Configuration, asked: Asked, message: Message, route: Route, found: Explanation
) -> None:
    found.route, found.rule = route.name, _rule(message)
    found.virtual_service = _virtual_service(message)
    found.matched = [str(condition) for condition in conditions(route.match)] or ["every request"]
    found.does = action.described(message, route, asked)
    answered = action.answer(route, asked)
    if answered is not None:
        found.outcome = answered
        if route.name == "block_all":
            found.notes.append("outboundTrafficPolicy REGISTRY_ONLY: nobody in the mesh knows this host")
        return
    found.destinations = destinations(configuration, shares_of(message["route"]), _original(asked, found))
    if route.name == "allow_any":
        found.notes.append(
            "nobody in the mesh knows this host; outboundTrafficPolicy ALLOW_ANY lets it through"
        )


def _with_path(asked: Asked, path: str) -> Asked:
    return Asked(asked.method, asked.scheme, asked.host, asked.port, path, asked.authority, asked.headers)


def _normalized(asked: Asked, manager: HttpConnectionManager, found: Explanation) -> str | None:
    """The path rules see; None when the request ends here."""
    path, escaped = asked.path.encode(), EscapedSlashes(manager.path_with_escaped_slashes_action)
    how: dict[str, Any] = {
        "normalize_path": manager.normalize_path,
        "merge_slashes": manager.merge_slashes,
        "escaped": escaped,
    }
    if not suspect(**how).search(path):
        return asked.path
    try:
        normal = normalize(path, **how).decode(errors="replace")
    except PathRefused:
        found.outcome = "400: the path cannot be normalized (path_normalization_failed)"
        return None
    except PathRedirect as redirect:
        found.outcome = f"307 to {redirect.path.decode(errors='replace')}: escaped slashes in the path"
        return None
    if normal != asked.path:
        found.notes.append(f"the path is normalized to {normal}")
    return normal


def _table(
    configuration: Configuration, manager: HttpConnectionManager, found: Explanation
) -> RouteConfiguration | None:
    if manager.route_config is not None:
        found.route_table = manager.route_config.name
        return manager.route_config
    assert manager.rds is not None
    found.route_table = manager.rds.route_config_name
    message = configuration.routes.get(found.route_table)
    if message is None:
        found.outcome = f"404 NR: the proxy has no route table {found.route_table}"
        return None
    table: RouteConfiguration = typed(ROUTE, message)
    return table


def _choose(table: RouteConfiguration, request: Mapping[str, Any]) -> Any:
    compiled: RouteTable[Route] = RouteTable(table, lambda _, route: route)
    headers = [(name.encode(), value.encode()) for name, value in request["headers"]]
    texts = {name: request[name].encode() for name in ("authority", "path", "method", "scheme")}
    return compiled.explain(headers, draw=0.5, **texts)


def _messages(configuration: Configuration, table: RouteConfiguration, host: str) -> list[Message]:
    """The virtual host's routes as they were sent, which carry what the sidecar does not read."""
    sent = configuration.routes.get(table.name) or msgspec.to_builtins(table)
    for message in sent.get("virtual_hosts") or ():
        if message["name"] == host:
            return list(message.get("routes") or ())
    return []


def _domain(domains: Iterable[str], authority: str) -> str:
    """The domain by which a virtual host was found, as it is written there."""
    host = without_port(authority.lower().encode()).decode()
    domains = list(domains)
    if host in map(str.lower, domains):
        return host
    fitting = [
        domain
        for domain in domains
        if (domain.startswith("*") and host.endswith(domain[1:].lower()))
        or (domain.endswith("*") and host.startswith(domain[:-1].lower()))
    ]
    return max(fitting, key=len, default="")


def _metadata(message: Message, of: str) -> Message:
    found: Message = ((message.get("metadata") or {}).get("filter_metadata") or {}).get(of) or {}
    return found


def _rule(message: Message) -> str:
    return str(_metadata(message, "glassmesh").get("rule") or "")


def _virtual_service(message: Message) -> str:
    """`namespace/name` of `/apis/networking.istio.io/v1/namespaces/NAMESPACE/virtual-service/NAME`."""
    parts = str(_metadata(message, "istio").get("config") or "").split("/")
    return f"{parts[-3]}/{parts[-1]}" if len(parts) > 3 else ""


def _config(
    mesh: Mesh, proxy: Proxy, message: list[Message], found: Explanation
) -> VirtualServiceConfig | None:
    """The VirtualService whose rules were asked: that of the routes, or the one that had none for this client."""
    name = next(filter(None, map(_virtual_service, message)), "")
    for config in mesh.virtual_services:
        if f"{config.source.namespace}/{config.source.name}" == name:
            return config
    if name or proxy.kind == "router":
        return None
    seen = Bound(
        one
        for one in mesh.virtual_services
        if MESH_GATEWAY in one.gateways and one.visible_from(proxy.namespace)
    )
    best = seen.best(found.virtual_host.rpartition(":")[0])
    return best[0] if best is not None and best[0].spec.http else None


def _left_out(mesh: Mesh, proxy: Proxy, asked: Asked, message: list[Message], found: Explanation) -> None:
    """Add the earlier rules that are not in the table because they are not for this client, in the VirtualService's order."""
    config = _config(mesh, proxy, message, found)
    if config is None:
        return
    gateways = config.gateways - {MESH_GATEWAY} if proxy.kind == "router" else frozenset({MESH_GATEWAY})
    audience = Audience(proxy.namespace, proxy.labels, asked.port, gateways)
    passed = {one.rule: one for one in found.passed_over if one.rule}
    ordered: list[PassedOver] = []
    for index, rule in enumerate(config.spec.http or ()):
        for at, match in enumerate(rule.match or [None]):
            where = f"http[{index}]" + (f".match[{at}]" if match is not None else "")
            if where == found.rule:
                found.passed_over = [*ordered, *(one for one in found.passed_over if not one.rule)]
                return
            why = audience.refusal(match, config.source.namespace) if match is not None else None
            if where in passed:
                ordered.append(passed[where])
            elif why is not None:
                label = ".".join(part for part in (rule.name, match.name if match else None) if part)
                ordered.append(PassedOver(None, label, where, why))
    found.passed_over = [*ordered, *(one for one in found.passed_over if not one.rule)]
