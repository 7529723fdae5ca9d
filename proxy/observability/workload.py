"""The two sides of a hop as metrics name them: a workload and a service.

Reads Istio's own notations (the `istio` endpoint metadata, a proxy's node metadata); a field never learned is empty and
prints `unknown`. Objects are made once per configuration push and compared by identity, so that a metric handle is
found by a dictionary look-up. Reference: Istio proxy extensions/common/metadata_object.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """One side's workload. `app` and `version` are its labels of those names."""

    name: str = ""
    namespace: str = ""
    canonical_service: str = ""
    canonical_revision: str = ""
    cluster: str = ""
    app: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """A Kubernetes or ServiceEntry host: `host` is its full name."""

    host: str = ""
    name: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """What `StreamInfo.upstream_metadata` holds: the cluster's service and the chosen endpoint's workload."""

    service: Service | None = None
    workload: Workload | None = None


def workload_of_endpoint(text: str) -> Workload:
    """Read the endpoint metadata `istio.workload`: `name;namespace;canonical service;revision;cluster`."""
    name, namespace, service, revision, cluster, *_ = (*text.split(";"), "", "", "", "", "")
    # The short form carries no labels; Istio reports the canonical pair as app and version too.
    return Workload(name, namespace, service, revision or "latest", cluster, service, revision)


def workload_of_node(metadata: Mapping[str, Any]) -> Workload:
    """Read a proxy's node metadata: its own, or the one received by metadata exchange."""
    labels: Mapping[str, Any] = metadata.get("LABELS") or {}
    app, version = str(labels.get("app", "")), str(labels.get("version", ""))
    name = str(metadata.get("WORKLOAD_NAME", ""))
    service = (
        labels.get("service.istio.io/canonical-name") or labels.get("app.kubernetes.io/name") or app or name
    )
    revision = (
        labels.get("service.istio.io/canonical-revision")
        or labels.get("app.kubernetes.io/version")
        or version
    )
    return Workload(
        name=name,
        namespace=str(metadata.get("NAMESPACE", "")),
        canonical_service=str(service),
        canonical_revision=str(revision or "latest"),
        cluster=str(metadata.get("CLUSTER_ID", "")),
        app=app,
        version=version,
    )


def service_of_cluster(metadata: Mapping[str, Any]) -> Service | None:
    """Read a cluster's `istio` filter metadata, whose `services` lists host, name and namespace; the first counts."""
    services = (metadata.get("filter_metadata") or {}).get("istio", {}).get("services") or []
    if not services:
        return None
    first = services[0]
    return Service(str(first.get("host", "")), str(first.get("name", "")), str(first.get("namespace", "")))
