"""Ports of Services: their names tell the protocol, and several Services of one Deployment agree.

Reference: istio's analyzers/service/portname.go, analyzers/deployment/services.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import (
    DEPLOYMENT_CONFLICTING_PORTS,
    DEPLOYMENT_PROTOCOL_CONFLICT,
    PORT_NAME_CONVENTION,
    Message,
)
from control.analysis.snapshot import Snapshot, is_system, labels_of, namespace_of, spec
from control.registry.protocol import Protocol, port_protocol
from control.resources import deployment, service
from control.resources.kind import Object


def _names(obj: Object, _snapshot: Snapshot) -> Iterator[Message]:
    if is_system(namespace_of(obj)) or spec(obj).get("type") == "ExternalName":
        return
    for index, port in enumerate(spec(obj).get("ports") or ()):
        name, number = port.get("name") or "", port["port"]
        said = port_protocol(0, name, port.get("appProtocol"), port.get("protocol", "TCP"))
        if said is Protocol.AUTO:
            yield PORT_NAME_CONVENTION.about(
                obj, f"spec.ports[{index}].name", name, number, port.get("targetPort") or number
            )


Exposed = tuple[str, int, str, str]  # service, port, protocol, target port


def _exposed(obj: Object, snapshot: Snapshot) -> list[Exposed]:
    template = spec(obj).get("template") or {}
    services = snapshot.services_selecting(namespace_of(obj), labels_of(template))
    return [
        (
            s["metadata"]["name"],
            port["port"],
            port.get("protocol") or "TCP",
            str(port.get("targetPort") or port["port"]),
        )
        for s in services
        for port in spec(s).get("ports") or ()
    ]


def _check(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    exposed = _exposed(obj, snapshot)
    name = f"{obj['metadata']['name']}.{namespace_of(obj)}"
    for number in sorted({port for _, port, _, _ in exposed}):
        protocols = sorted({protocol for _, port, protocol, _ in exposed if port == number})
        if len(protocols) > 1:
            yield DEPLOYMENT_PROTOCOL_CONFLICT.about(obj, "", name, number, " ".join(protocols))
    for target in sorted({target for *_, target in exposed}):
        here = [entry for entry in exposed if entry[3] == target]
        ports, services = sorted({entry[1] for entry in here}), sorted({entry[0] for entry in here})
        if len(ports) > 1 and len(services) > 1:
            shown = " ".join(services), target, " ".join(map(str, ports))
            yield DEPLOYMENT_CONFLICTING_PORTS.about(obj, "", name, *shown)


NAMES = Analyzer(
    "service.PortNameAnalyzer",
    "Checks that the names of service ports tell their protocol",
    (service.KIND,),
    (),
    _names,
    at_apply=False,  # a protocol that is not told is looked for in the bytes
)
DEPLOYMENTS = Analyzer(
    "deployment.MultiServiceAnalyzer",
    "Checks the services of each deployment for ports that contradict",
    (deployment.KIND,),
    (service.KIND,),
    _check,
    at_apply=False,
)
