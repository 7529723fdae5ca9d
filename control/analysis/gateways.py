"""Gateways: their workload, its ports, their certificates, and other Gateways on the same port.

Reference: istio's analyzers/gateway (gateway.go, secret.go, conflictinggateway.go).
"""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import (
    CONFLICTING_GATEWAYS,
    GATEWAY_PORT_NOT_ON_WORKLOAD,
    REFERENCED_RESOURCE_NOT_FOUND,
    Message,
)
from control.analysis.snapshot import Snapshot, full_name, labels_of, namespace_of, spec, written
from control.resources import config_map, deployment, gateway, pod, service
from control.resources.istio_types import host_matches
from control.resources.kind import Object


def _ports(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    selector = spec(obj).get("selector") or {}
    workloads = snapshot.workloads(selector) if selector else []
    if selector and not workloads:
        yield REFERENCED_RESOURCE_NOT_FOUND.about(obj, "spec.selector", "selector", written(selector))
        return
    services = [s for w in workloads for s in snapshot.services_selecting(namespace_of(w), labels_of(w))]
    exposed = {
        p.get(name) for s in services for p in spec(s).get("ports") or () for name in ("port", "targetPort")
    }
    for index, server in enumerate(spec(obj).get("servers") or () if workloads else ()):
        number = server["port"]["number"]
        if number not in exposed:
            path = f"spec.servers[{index}].port.number"
            yield GATEWAY_PORT_NOT_ON_WORKLOAD.about(obj, path, written(selector), number)


def _credentials(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    """A Secret is looked for where the gateway's workload runs."""
    selector = spec(obj).get("selector") or {}
    places = {namespace_of(workload) for workload in snapshot.workloads(selector)} if selector else set()
    names = {(namespace_of(secret), secret["metadata"]["name"]) for secret in snapshot.of(config_map.SECRET)}
    for index, server in enumerate(spec(obj).get("servers") or ()):
        name = (server.get("tls") or {}).get("credentialName")
        if name and places and not any((place, name) in names for place in places):
            path = f"spec.servers[{index}].tls.credentialName"
            yield REFERENCED_RESOURCE_NOT_FOUND.about(obj, path, "credentialName", name)


def _conflicts(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    selector = spec(obj).get("selector") or {}
    rivals = [
        other
        for other in snapshot.of(gateway.KIND)
        if full_name(other) != full_name(obj) and (spec(other).get("selector") or {}) == selector
    ]
    for index, server in enumerate(spec(obj).get("servers") or ()):
        names = sorted(
            {full_name(other) for other in rivals for one in spec(other)["servers"] if _clash(server, one)}
        )
        if names:
            shown = written(selector), server["port"]["number"], ",".join(server["hosts"])
            yield CONFLICTING_GATEWAYS.about(obj, f"spec.servers[{index}]", ",".join(names), *shown)


def _clash(one: Object, other: Object) -> bool:
    """The same port for the same host; hosts of named namespaces are left to their owners."""
    if one["port"]["number"] != other["port"]["number"] or one.get("bind") != other.get("bind"):
        return False
    pairs = ((mine, theirs) for mine in one["hosts"] for theirs in other["hosts"] if "/" not in mine + theirs)
    return any(host_matches(mine, theirs) and host_matches(theirs, mine) for mine, theirs in pairs)


_KINDS = (gateway.KIND,)
PORTS = Analyzer(
    "gateway.IngressGatewayPortAnalyzer",
    "Checks a gateway's ports against the service of its workload",
    _KINDS,
    (service.KIND, pod.KIND, deployment.KIND),
    _ports,
)
CREDENTIALS = Analyzer(
    "gateway.SecretAnalyzer",
    "Checks a gateway's referenced secrets for existence",
    _KINDS,
    (pod.KIND, deployment.KIND, config_map.SECRET),
    _credentials,
)
CONFLICTS = Analyzer(
    "gateway.ConflictingGatewayAnalyzer",
    "Checks a gateway's selector, port number and hosts against those of others",
    _KINDS,
    _KINDS,
    _conflicts,
)
