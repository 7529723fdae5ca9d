"""A service of the mesh, from a Kubernetes Service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from control.registry.protocol import Protocol, Treatment, port_protocol, treatment
from control.resources.kind import Object

EXPORT_TO = "networking.istio.io/exportTo"
TRAFFIC_DISTRIBUTION = "networking.istio.io/traffic-distribution"


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a service; `target` is a workload port, by number or by a container port's name."""

    name: str
    number: int
    target: int | str
    protocol: Protocol

    @property
    def treatment(self) -> Treatment:
        return treatment(self.protocol)


@dataclass(frozen=True)
class Service:
    """`hostname` is the FQDN. `address` is the virtual IP; empty for a headless service. `created` orders by age."""

    name: str
    namespace: str
    hostname: str
    address: str
    ports: tuple[Port, ...]
    selector: Mapping[str, str]
    created: str
    export_to: frozenset[str]
    traffic_distribution: str = ""  # `trafficDistribution`, or Istio's annotation: PreferClose ...

    @property
    def headless(self) -> bool:
        return not self.address

    @cached_property
    def by_number(self) -> Mapping[int, Port]:
        return {port.number: port for port in self.ports}

    @cached_property
    def selector_key(self) -> frozenset[tuple[str, str]]:
        return frozenset(self.selector.items())

    def selects(self, namespace: str, labels: Mapping[str, str]) -> bool:
        if namespace != self.namespace or not self.selector:
            return False
        return all(labels.get(key) == value for key, value in self.selector.items())

    def visible_from(self, namespace: str) -> bool:
        return visible(self.export_to, self.namespace, namespace)


def visible(export_to: frozenset[str], owner: str, namespace: str) -> bool:
    """Whether an object of namespace `owner` is seen in `namespace`; no `exportTo` means everywhere."""
    if not export_to or "*" in export_to or namespace in export_to:
        return True
    return "." in export_to and owner == namespace


def service_from(obj: Object, domain: str) -> Service | None:
    """The service of a Kubernetes Service; None for an ExternalName, which is only a DNS name."""
    meta, spec = obj["metadata"], obj.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return None
    address = spec.get("clusterIP") or ""
    annotations = meta.get("annotations") or {}
    export = annotations.get(EXPORT_TO, "")
    return Service(
        name=meta["name"],
        namespace=meta["namespace"],
        hostname=f"{meta['name']}.{meta['namespace']}.svc.{domain}",
        address="" if address == "None" else address,
        ports=tuple(_port(port) for port in spec.get("ports") or () if port.get("protocol", "TCP") == "TCP"),
        selector=spec.get("selector") or {},
        created=meta.get("creationTimestamp") or "",
        export_to=frozenset(word.strip() for word in export.split(",") if word.strip()),
        traffic_distribution=annotations.get(TRAFFIC_DISTRIBUTION) or spec.get("trafficDistribution") or "",
    )


def _port(port: Object) -> Port:
    number, name = port["port"], port.get("name") or ""
    return Port(
        name=name,
        number=number,
        target=port.get("targetPort") or number,
        protocol=port_protocol(number, name, port.get("appProtocol")),
    )
