"""A proxy's configuration as rows, in istioctl's columns. Pure: from Envoy's config dump to text.

Reference: istio's istioctl/pkg/writer/envoy/configdump, pilot/status.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
Rows = list[list[str]]

HEADINGS = {
    "listeners": ["ADDRESSES", "PORT", "MATCH", "DESTINATION"],
    "routes": ["NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"],
    "clusters": ["SERVICE FQDN", "PORT", "SUBSET", "DIRECTION", "TYPE", "DESTINATION RULE"],
    "endpoints": ["NAME", "STATUS", "OUTLIER CHECK", "LOCALITY", "CLUSTER"],
    "secrets": [
        "RESOURCE NAME",
        "TYPE",
        "STATUS",
        "VALID CERT",
        "SERIAL NUMBER",
        "NOT AFTER",
        "NOT BEFORE",
    ],
}
_HCM = "HttpConnectionManager"
_TYPES = {"cds": "cluster", "lds": "listener", "eds": "endpoint", "rds": "route"}


def section(dump: Object, name: str) -> Object:
    """The part of a config dump whose type ends in `name`, such as `ClustersConfigDump`."""
    for part in dump.get("configs") or ():
        if str(part.get("@type", "")).endswith("." + name):
            found: Object = part
            return found
    return {}


def resources(dump: Object, kind: str) -> list[Object]:
    """The resources of one kind, whether the proxy got them dynamically or has them from its bootstrap."""
    if kind == "clusters":
        part = section(dump, "ClustersConfigDump")
        entries = [*(part.get("static_clusters") or ()), *(part.get("dynamic_active_clusters") or ())]
        return [entry["cluster"] for entry in entries]
    if kind == "listeners":
        part = section(dump, "ListenersConfigDump")
        static = [entry["listener"] for entry in part.get("static_listeners") or ()]
        dynamic = [entry["active_state"]["listener"] for entry in part.get("dynamic_listeners") or ()]
        return [*static, *dynamic]
    if kind == "routes":
        part = section(dump, "RoutesConfigDump")
        entries = [
            *(part.get("static_route_configs") or ()),
            *(part.get("dynamic_route_configs") or ()),
        ]
        return [entry["route_config"] for entry in entries]
    if kind == "endpoints":
        part = section(dump, "EndpointsConfigDump")
        entries = [
            *(part.get("static_endpoint_configs") or ()),
            *(part.get("dynamic_endpoint_configs") or ()),
        ]
        return [entry["endpoint_config"] for entry in entries]
    return list(section(dump, "SecretsConfigDump").get("dynamic_active_secrets") or ())


def table(kind: str, found: list[Object], failed: set[tuple[str, str]] | None = None) -> Rows:
    """Of endpoints only the proxy itself knows which have `failed` its outlier detection; None where it was not asked."""
    if kind == "endpoints":
        return sorted(row for one in found for row in _endpoints(one, failed))
    makers = {"listeners": _listener, "routes": _routes, "clusters": _cluster}
    return sorted(row for one in found for row in makers[kind](one))


def failed_outlier_check(page: Object) -> set[tuple[str, str]]:
    """(cluster, address) of the ejected hosts on Envoy's page `/clusters?format=json`."""
    return {
        (cluster["name"], _address(host.get("address") or {}))
        for cluster in page.get("cluster_statuses") or ()
        for host in cluster.get("host_statuses") or ()
        if (host.get("health_status") or {}).get("failed_outlier_check")
    }


def _address(address: Object) -> str:
    socket = address.get("socket_address") or {}
    return f"{socket.get('address')}:{socket.get('port_value')}"


def _config(message: Object) -> str:
    """`reviews.default` of `/apis/…/namespaces/default/virtual-service/reviews`."""
    metadata = (message.get("metadata") or {}).get("filter_metadata") or {}
    path = str((metadata.get("istio") or {}).get("config") or "")
    parts = path.split("/")
    return f"{parts[-1]}.{parts[-3]}" if len(parts) > 3 else ""


def _cluster(cluster: Object) -> Iterator[list[str]]:
    parts = cluster["name"].split("|")
    direction, port, subset, host = parts if len(parts) == 4 else ("-", "-", "-", cluster["name"])
    yield [host, port or "-", subset or "-", direction, cluster.get("type", "STATIC"), _config(cluster)]


def _endpoints(assignment: Object, failed: set[tuple[str, str]] | None) -> Iterator[list[str]]:
    cluster = assignment["cluster_name"]
    for group in assignment.get("endpoints") or ():
        locality = group.get("locality") or {}
        place = "/".join(filter(None, (locality.get(part) for part in ("region", "zone", "sub_zone"))))
        for entry in group.get("lb_endpoints") or ():
            name = _address(entry["endpoint"]["address"])
            check = "-" if failed is None else "FAILED" if (cluster, name) in failed else "OK"
            yield [name, entry.get("health_status", "HEALTHY"), check, place, cluster]


def _listener(listener: Object) -> Iterator[list[str]]:
    address = listener["address"]["socket_address"]
    place = [address["address"], str(address["port_value"])]
    for chain in listener.get("filter_chains") or ():
        yield [*place, _match(chain.get("filter_chain_match") or {}), _destination(chain)]
    if listener.get("default_filter_chain"):
        yield [*place, "ALL", _destination(listener["default_filter_chain"])]


def _match(match: Object) -> str:
    parts = []
    if match.get("server_names"):
        parts.append(f"SNI: {','.join(match['server_names'])}")
    if match.get("transport_protocol"):
        parts.append(f"Trans: {match['transport_protocol']}")
    if match.get("application_protocols"):
        parts.append(f"App: {','.join(match['application_protocols'])}")
    if match.get("prefix_ranges"):
        ranges = (f"{r['address_prefix']}/{r.get('prefix_len', 0)}" for r in match["prefix_ranges"])
        parts.append(f"Addr: {','.join(ranges)}")
    if match.get("destination_port"):
        parts.append(f"Addr: *:{match['destination_port']}")
    return "; ".join(parts) or "ALL"


def _destination(chain: Object) -> str:
    for one in chain.get("filters") or ():
        config = one.get("typed_config") or {}
        if str(config.get("@type", "")).endswith(_HCM):
            if "rds" in config:
                return f"Route: {config['rds']['route_config_name']}"
            return _inline_route(config.get("route_config") or {})
        if "cluster" in config:
            plain = "|" not in config["cluster"]
            return str(config["cluster"]) if plain else f"Cluster: {config['cluster']}"
        if "weighted_clusters" in config:
            names = (cluster["name"] for cluster in config["weighted_clusters"]["clusters"])
            return f"Clusters: {','.join(names)}"
    return "Non-HTTP/Non-TCP"


def _inline_route(config: Object) -> str:
    matches = [
        _path(route["match"])
        for host in config.get("virtual_hosts") or ()
        for route in host.get("routes") or ()
    ]
    return f"Inline Route: {', '.join(matches)}" if matches else "Inline Route: "


def _path(match: Object) -> str:
    if "path" in match:
        return str(match["path"])
    if "safe_regex" in match:
        return f"regex {match['safe_regex']['regex']}"
    return f"{match.get('prefix', '')}*"


def _routes(config: Object) -> Iterator[list[str]]:
    for host in config.get("virtual_hosts") or ():
        domains = host.get("domains") or []
        shown = (
            domains[0] if len(domains) == 1 else f"{domains[0]}, {domains[1]} + {len(domains) - 2} more..."
        )
        shown = ", ".join(domains) if len(domains) == 2 else shown
        for route in host.get("routes") or ():
            service = _config(route) or ("404" if not route.get("route") else "")
            yield [config.get("name", ""), host["name"], shown, _path(route["match"]), service]
        if not host.get("routes"):
            yield [config.get("name", ""), host["name"], shown, "/*", "404"]


def age(since: str, now: datetime) -> str:
    """`5m`, `3h`, `2d` since an RFC 3339 time."""
    try:
        begun = datetime.fromisoformat(since.replace("Z", "+00:00"))
    except ValueError:
        return "?"
    seconds = max(0, int((now - begun.astimezone(UTC)).total_seconds()))
    for size, word in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{word}"
    return f"{seconds}s"


def status_rows(found: Iterable[Object], verbose: bool, now: datetime) -> Rows:
    """One row per proxy, from `/debug/syncz`."""
    rows = []
    for proxy in found:
        cells = {word: _cell(proxy, name, now) for word, name in _TYPES.items()}
        istiod, version = "istiod", f"{proxy['istio_version']} ({proxy['user_agent']})"
        if verbose:
            row = [proxy["proxy"], proxy["cluster_id"], *cells.values(), istiod, version]
        else:
            sent = [word.upper() for word, cell in cells.items() if cell != "NOT SENT"]
            row = [proxy["proxy"], proxy["cluster_id"], istiod, version, f"{len(sent)} ({','.join(sent)})"]
        rows.append(row)
    return sorted(rows)


def status_headings(verbose: bool) -> list[str]:
    if verbose:
        return ["NAME", "CLUSTER", *(word.upper() for word in _TYPES), "ISTIOD", "VERSION"]
    return ["NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES"]


def _cell(proxy: Object, name: str, now: datetime) -> str:
    state, since = proxy[f"{name}_status"], proxy.get(f"{name}_time")
    return f"{state} ({age(since, now)})" if since and state != "NOT SENT" else str(state)
