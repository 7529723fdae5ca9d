"""The objects of a mesh of a given size: services over ten namespaces, each with its pods, and the single changes measured.

Every tenth service has a VirtualService and a DestinationRule. Pods are ready, have a sidecar by their labels, and no node runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
NAMESPACES = 10
PORT = 8080
ISTIO = "networking.istio.io/v1"
_READY = [{"type": "Ready", "status": "True"}]


@dataclass(frozen=True)
class Pod:
    """Which pod a sidecar stands for."""

    name: str
    namespace: str
    service_account: str
    ip: str
    app: str

    @property
    def node_id(self) -> str:
        return f"sidecar~{self.ip}~{self.name}.{self.namespace}~{self.namespace}.svc.cluster.local"


def namespaces() -> list[str]:
    return [f"scale-{number}" for number in range(NAMESPACES)]


def namespace_of(service: int) -> str:
    return f"scale-{service % NAMESPACES}"


def name_of(service: int) -> str:
    return f"svc-{service}"


def pod_of(service: int, endpoint: int) -> Pod:
    name = name_of(service)
    number = service * 250 + endpoint
    ip = f"10.{16 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
    return Pod(f"{name}-{endpoint}", namespace_of(service), name, ip, name)


def service(number: int) -> Object:
    spec = {"selector": {"app": name_of(number)}, "ports": [{"name": "http", "port": PORT}]}
    return _object("v1", "Service", number, spec)


def pod(number: int, endpoint: int) -> Object:
    one = pod_of(number, endpoint)
    labels = {"app": one.app, "version": "v1", "security.istio.io/tlsMode": "istio"}
    spec = {
        "serviceAccountName": one.service_account,
        "containers": [{"name": "app", "image": "app", "ports": [{"containerPort": PORT}]}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": one.name, "namespace": one.namespace, "labels": labels},
        "spec": spec,
        "status": {"phase": "Running", "podIP": one.ip, "conditions": _READY},
    }


def objects(services: int, endpoints: int) -> Iterator[Object]:
    """Everything a mesh of this size holds."""
    for name in namespaces():
        yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    for number in range(services):
        made = service(number)
        made["spec"]["clusterIP"] = f"10.96.{number // 250}.{number % 250 + 1}"
        yield made
        for endpoint in range(endpoints):
            yield pod(number, endpoint)
    for number in range(0, services, 10):
        yield virtual_service(number)
        yield destination_rule(number)


def virtual_service(number: int, header: str = "1") -> Object:
    rule = {
        "headers": {"request": {"set": {"x-scale": header}}},
        "route": [{"destination": {"host": name_of(number)}}],
    }
    return _object(ISTIO, "VirtualService", number, {"hosts": [name_of(number)], "http": [rule]})


def destination_rule(number: int, connections: int = 100) -> Object:
    policy = {"connectionPool": {"tcp": {"maxConnections": connections}}}
    return _object(ISTIO, "DestinationRule", number, {"host": name_of(number), "trafficPolicy": policy})


def _object(version: str, kind: str, number: int, spec: Object) -> Object:
    meta = {"name": name_of(number), "namespace": namespace_of(number)}
    return {"apiVersion": version, "kind": kind, "metadata": meta, "spec": spec}


@dataclass(frozen=True)
class Change:
    """One write: `make` gives method, object and, for a patch, its body, for the round-th time it is made."""

    title: str
    make: Callable[[int], tuple[str, Object, Object | None]]


def changes(services: int, endpoints: int) -> list[Change]:
    """The changes measured in a mesh of this size; each can be made any number of times."""

    def virtual(round_: int) -> tuple[str, Object, Object]:
        obj = virtual_service(0, f"round-{round_}")
        return "PATCH", obj, {"spec": obj["spec"]}

    def rule(round_: int) -> tuple[str, Object, Object]:
        obj = destination_rule(0, 200 + round_)
        return "PATCH", obj, {"spec": obj["spec"]}

    def endpoint(round_: int) -> tuple[str, Object, Object]:
        # The last pod goes and comes: what its node says of it.
        obj = pod(services - 1, endpoints - 1)
        status = {"type": "Ready", "status": "True" if round_ % 2 else "False"}
        return "PATCH STATUS", obj, {"status": {"conditions": [status]}}

    def added(round_: int) -> tuple[str, Object, None]:
        return "POST", service(services + round_), None

    return [
        Change("VirtualService edited", virtual),
        Change("endpoint gone or back", endpoint),
        Change("DestinationRule edited", rule),
        Change("Service added", added),
    ]
