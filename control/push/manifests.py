"""A `PushContext` from manifests alone, without a control plane: for looking at what a mesh would be told, and for tests.

Deployments become one ready workload each, with addresses from 10.244.0.0/16 and a sidecar unless told otherwise; Services without a
cluster IP get one from 10.96.0.0/16. Objects are checked as the API would: `BadManifest` names every error.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from control.mesh_config import MeshConfig
from control.push import config
from control.push.context import PushContext
from control.registry.locality import node_from
from control.registry.service import service_from
from control.registry.workload import TLS_MODE, place, workload_from
from control.resources import (
    config_map,
    destination_rule,
    gateway,
    local_rate_limit,
    node,
    peer_authentication,
    pod,
    service,
    virtual_service,
)
from control.resources.kind import Kind, Object

_KINDS: dict[str, Kind] = {
    module.KIND.kind: module.KIND
    for module in (
        service,
        pod,
        node,
        virtual_service,
        destination_rule,
        gateway,
        peer_authentication,
        local_rate_limit,
    )
} | {"Secret": config_map.SECRET}


class BadManifest(ValueError):
    """A manifest the API would refuse."""


def read(text: str) -> list[Object]:
    """The objects of a YAML stream, defaulted and checked; kinds the mesh does not care for are left out."""
    found: list[Object] = []
    for document in yaml.load_all(text, Loader=yaml.CSafeLoader):
        if not isinstance(document, dict):
            continue
        document["metadata"].setdefault("namespace", "default")
        kind = _KINDS.get(str(document.get("kind")))
        if kind is None:
            if document.get("kind") == "Deployment":
                found.append(document)
            continue
        found.append(_checked(kind, document))
    return found


def _checked(kind: Kind, document: Object) -> Object:
    obj = kind.default(document)
    errors = kind.validate(obj).errors
    if errors:
        name = f"{document['kind']} {document['metadata']['name']}"
        raise BadManifest("; ".join(f"{name}: {error}" for error in errors))
    return obj


def _addressed(objects: Iterable[Object], sidecars: bool) -> Iterator[Object]:
    services = pods = 0
    for obj in objects:
        if obj["kind"] == "Service" and not obj["spec"].get("clusterIP"):
            services += 1
            yield {**obj, "spec": {**obj["spec"], "clusterIP": f"10.96.0.{services}"}}
        elif obj["kind"] == "Deployment":
            pods += 1
            yield _pod(obj, f"10.244.0.{pods}", sidecars)
        else:
            yield obj


def _pod(deployment: Object, address: str, sidecar: bool) -> Object:
    template = copy.deepcopy(deployment["spec"]["template"])
    labels: dict[str, Any] = dict(template["metadata"].get("labels") or {})
    if sidecar:
        labels.setdefault(TLS_MODE, "istio")
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": template["metadata"].get("annotations") or {},
        },
        "spec": template["spec"],
        "status": {
            "phase": "Running",
            "podIP": address,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def context_of(
    objects: Iterable[Object], mesh: MeshConfig | None = None, sidecars: bool = True
) -> PushContext:
    """The context of these objects. Earlier ones count as older where none says when it was created."""
    mesh = mesh or MeshConfig()
    domain = mesh.clusterDomain
    by_kind: dict[str, list[Object]] = {}
    for index, obj in enumerate(_addressed(objects, sidecars)):
        created = {"creationTimestamp": f"2026-01-01T00:{index // 60:02}:{index % 60:02}Z"}
        dated = {**obj, "metadata": {**created, **obj["metadata"]}}
        by_kind.setdefault(obj["kind"], []).append(dated)
    services = [service_from(obj, domain) for obj in by_kind.get("Service", ())]
    workloads = [workload_from(obj) for obj in by_kind.get("Pod", ())]
    return PushContext(
        mesh,
        [each for each in services if each],
        place([each for each in workloads if each], map(node_from, by_kind.get("Node", ()))),
        [config.virtual_service(obj, domain) for obj in by_kind.get("VirtualService", ())],
        [config.destination_rule(obj, domain) for obj in by_kind.get("DestinationRule", ())],
        [config.gateway(obj) for obj in by_kind.get("Gateway", ())],
        [config.peer_authentication(obj) for obj in by_kind.get("PeerAuthentication", ())],
        [each for each in map(config.credential, by_kind.get("Secret", ())) if each],
        [config.local_rate_limit(obj) for obj in by_kind.get("LocalRateLimit", ())],
    )
