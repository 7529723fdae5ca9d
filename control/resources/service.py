"""Service: a stable name and address for a set of Pods.

Reference: k8s.io/api/core/v1/types.go, pkg/apis/core/v1/defaults.go, pkg/apis/core/validation/validation.go;
columns from pkg/printers/internalversion/printers.go (printService).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import Field, model_validator

from control.resources.kind import Column, FieldError, Kind, Object, Verdict
from control.resources.metadata import META_LIST_KEYS, TopLevel, check_labels
from control.resources.model import (
    INERT,
    AnyObject,
    IntOrString,
    MergeKey,
    Model,
    StringMap,
    defaulter,
    duplicate,
    invalid,
    list_keys,
    merge_keys,
    required,
    schema,
)
from control.resources.names import Port, dns1035_label, dns1123_label, port_name, port_number
from control.resources.validation import validator


class ServicePort(Model):
    """A port of the Service and where it leads."""

    name: str | None = None
    port: Port
    targetPort: IntOrString | None = None
    protocol: Literal["TCP", "UDP", "SCTP"] = "TCP"
    appProtocol: str | None = None
    nodePort: Annotated[int | None, INERT] = None

    @model_validator(mode="after")
    def _defaults(self) -> ServicePort:
        if self.targetPort in (None, 0):
            self.targetPort = self.port
        return self

    def problems(self) -> Iterator[FieldError]:
        target = self.targetPort or None  # none is the port itself
        problem = port_number(target) if isinstance(target, int) else port_name(target) if target else None
        if problem:
            yield invalid("targetPort", target, problem)


class ServiceSpec(Model):
    """Which Pods, under which address and ports."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"] = "ClusterIP"
    selector: StringMap | None = None
    ports: Annotated[list[ServicePort] | None, MergeKey("port", "protocol")] = None
    clusterIP: str | None = None
    clusterIPs: list[str] | None = None
    ipFamilies: list[Literal["IPv4", "IPv6"]] | None = None
    ipFamilyPolicy: Literal["SingleStack", "PreferDualStack", "RequireDualStack"] | None = None
    sessionAffinity: Literal["None", "ClientIP"] = "None"
    sessionAffinityConfig: AnyObject | None = None
    internalTrafficPolicy: Literal["Cluster", "Local"] | None = None
    externalTrafficPolicy: Literal["Cluster", "Local"] | None = None
    trafficDistribution: str | None = None
    externalName: str | None = None
    externalIPs: Annotated[list[str] | None, INERT] = None
    loadBalancerIP: Annotated[str | None, INERT] = None
    loadBalancerClass: Annotated[str | None, INERT] = None
    loadBalancerSourceRanges: Annotated[list[str] | None, INERT] = None
    allocateLoadBalancerNodePorts: Annotated[bool | None, INERT] = None
    healthCheckNodePort: Annotated[int | None, INERT] = None
    publishNotReadyAddresses: bool | None = None

    @model_validator(mode="after")
    def _defaults(self) -> ServiceSpec:
        if self.type != "ExternalName":
            self.internalTrafficPolicy = self.internalTrafficPolicy or "Cluster"
            self.ipFamilies = self.ipFamilies or ["IPv4"]
            self.ipFamilyPolicy = self.ipFamilyPolicy or "SingleStack"
        if self.type in ("NodePort", "LoadBalancer"):
            self.externalTrafficPolicy = self.externalTrafficPolicy or "Cluster"
        return self

    def problems(self) -> Iterator[FieldError]:
        yield from self._port_errors()
        yield from self._address_errors()
        yield from check_labels(self.selector, "selector")

    def _address_errors(self) -> list[FieldError]:
        if self.type == "ExternalName":
            return [] if self.externalName else [required("externalName")]
        if self.clusterIP in (None, "", "None"):
            return []
        try:
            ip_address(str(self.clusterIP))
        except ValueError:
            return [
                invalid(
                    "clusterIPs[0]",
                    self.clusterIP,
                    "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                )
            ]
        return []

    def _port_errors(self) -> list[FieldError]:
        ports = self.ports or []
        if not ports and self.type != "ExternalName" and self.clusterIP != "None":
            return [required("ports")]
        errors: list[FieldError] = []
        names: set[str] = set()
        numbers: set[tuple[str, int]] = set()
        for index, port in enumerate(ports):
            if len(ports) > 1 and not port.name:
                errors.append(required(f"ports[{index}].name"))
            problem = dns1123_label(port.name) if port.name else None
            if problem:
                errors.append(invalid(f"ports[{index}].name", port.name, problem))
            if port.name and port.name in names:
                errors.append(duplicate(f"ports[{index}].name", port.name))
            if (port.protocol, port.port) in numbers:
                errors.append(duplicate(f"ports[{index}]", {"port": port.port, "protocol": port.protocol}))
            names.add(port.name or "")
            numbers.add((port.protocol, port.port))
        return errors


class Service(TopLevel):
    """A Service is a stable name and address for a set of Pods, chosen by their labels."""

    spec: ServiceSpec
    status: AnyObject = Field(default={"loadBalancer": {}})

    def problems(self) -> Iterator[FieldError]:
        name = self.metadata.get("name")
        problem = dns1035_label(name) if isinstance(name, str) else None
        if problem:
            yield invalid("metadata.name", name, problem)


def _keep_cluster_ip(old: Object, new: Object) -> Verdict:
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if not before or not after or before == after or new["spec"]["type"] == "ExternalName":
        return Verdict()
    return Verdict((invalid("spec.clusterIPs[0]", [after], "may not change once set"),))


def _ports(obj: Object) -> str:
    parts = []
    for port in obj["spec"].get("ports") or []:
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        parts.append(f"{port['port']}{node}/{port['protocol']}")
    return ",".join(parts) or "<none>"


def _external_ip(obj: Object) -> str:
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        return str(spec.get("externalName"))
    ingress = (obj.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
    addresses = [entry.get("ip") or entry.get("hostname", "") for entry in ingress] + (
        spec.get("externalIPs") or []
    )
    return ",".join(addresses) or ("<pending>" if spec["type"] == "LoadBalancer" else "<none>")


def _selector(obj: Object) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((obj["spec"].get("selector") or {}).items())) or "<none>"


_KEYS = META_LIST_KEYS | list_keys(Service)

KIND = Kind(
    group="",
    versions=("v1",),
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    has_status=True,
    columns=(
        Column("Type", lambda o: o["spec"]["type"]),
        Column("Cluster-IP", lambda o: o["spec"].get("clusterIP") or "<none>"),
        Column("External-IP", _external_ip),
        Column("Port(s)", _ports),
        Column("Selector", _selector, wide=True),
    ),
    schema=schema(Service),
    default=defaulter(Service),
    validate=validator(Service),
    validate_update=_keep_cluster_ip,
    merge_keys=merge_keys(_KEYS),
    list_map_keys=_KEYS,
)
