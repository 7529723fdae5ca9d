"""The gateways a VirtualService is bound to: they exist, and they have its hosts.

Reference: istio's analyzers/virtualservice/gateways.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import HOST_NOT_FOUND_IN_GATEWAY, REFERENCED_RESOURCE_NOT_FOUND, Message
from control.analysis.snapshot import Snapshot, full_name, namespace_of, spec
from control.push.config import resolve_gateway
from control.resources import gateway, virtual_service
from control.resources.istio_types import MESH_GATEWAY, host_matches
from control.resources.kind import Object


def _check(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    for index, name in enumerate(spec(obj).get("gateways") or ()):
        if name == MESH_GATEWAY:
            continue
        path = f"spec.gateways[{index}]"
        found = snapshot.gateway(resolve_gateway(name, namespace_of(obj)))
        if found is None:
            yield REFERENCED_RESOURCE_NOT_FOUND.about(obj, path, "gateway", name)
            continue
        missing = [h for h in spec(obj).get("hosts") or () if not _serves(found, h, obj, snapshot)]
        if missing:
            names = " ".join(missing)
            yield HOST_NOT_FOUND_IN_GATEWAY.about(obj, path, names, full_name(obj), name)


def _serves(found: Object, host: str, obj: Object, snapshot: Snapshot) -> bool:
    """Whether a server of the Gateway takes the host, from the VirtualService's namespace."""
    wanted = snapshot.resolve(host, obj)
    for server in spec(found).get("servers") or ():
        for entry in server.get("hosts") or ():
            namespace, slash, name = entry.rpartition("/")
            places = {"*": namespace_of(obj), ".": namespace_of(found)}
            if slash and places.get(namespace, namespace) != namespace_of(obj):
                continue
            if any(host_matches(name, h) or host_matches(h, name) for h in (host, wanted)):
                return True
    return False


ANALYZER = Analyzer(
    "virtualservice.GatewayAnalyzer",
    "Checks the gateways associated with each virtual service, and that they have its hosts",
    (virtual_service.KIND,),
    (gateway.KIND,),
    _check,
)
