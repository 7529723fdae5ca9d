"""Several VirtualServices for one host: for sidecars the oldest decides alone."""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import CONFLICTING_MESH_HOSTS, Message
from control.analysis.snapshot import Snapshot, full_name, seen_together, spec
from control.resources import virtual_service
from control.resources.istio_types import MESH_GATEWAY
from control.resources.kind import Object


def _check(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    if MESH_GATEWAY not in (spec(obj).get("gateways") or (MESH_GATEWAY,)):
        return
    for index, host in enumerate(spec(obj).get("hosts") or ()):
        name = snapshot.resolve(host, obj)
        others = [other for other in snapshot.mesh_hosts.get(name, ()) if seen_together(obj, other)]
        if len(others) > 1:
            names = ",".join(sorted(full_name(other) for other in others))
            yield CONFLICTING_MESH_HOSTS.about(obj, f"spec.hosts[{index}]", names, name)


ANALYZER = Analyzer(
    "virtualservice.ConflictingMeshGatewayHostsAnalyzer",
    "Checks if multiple virtual services associated with the mesh gateway have conflicting hosts",
    (virtual_service.KIND,),
    (virtual_service.KIND,),
    _check,
)
