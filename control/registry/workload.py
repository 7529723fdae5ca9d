"""A workload of the mesh, from a Kubernetes Pod; and its SPIFFE identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from control.registry.locality import HOSTNAME, NOWHERE, Locality, Node, label_locality
from control.resources.kind import Object
from control.resources.metadata import LOAD_BALANCING_WEIGHT, MAX_WEIGHT

TLS_MODE = "security.istio.io/tlsMode"
CANONICAL_NAME = "service.istio.io/canonical-name"
CANONICAL_REVISION = "service.istio.io/canonical-revision"
_TEMPLATE_HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod with an address. `owner` is the name of its Deployment (or the pod's own); `accepts_mtls`: it has a sidecar."""

    name: str
    namespace: str
    ip: str
    labels: Mapping[str, str]
    service_account: str
    owner: str
    ready: bool
    named_ports: Mapping[str, int]
    node: str = ""
    locality: Locality = NOWHERE
    weight: int = 1

    @property
    def topology_labels(self) -> Mapping[str, str]:
        """Its labels, with where it runs: what a failover priority compares."""
        hostname = {HOSTNAME: self.node} if self.node else {}
        return {**hostname, **self.locality.labels, **self.labels}

    @property
    def accepts_mtls(self) -> bool:
        return self.labels.get(TLS_MODE) == "istio"

    def port(self, target: int | str) -> int | None:
        """The number of a target port given by number or by name; None when no container names it."""
        return target if isinstance(target, int) else self.named_ports.get(target)

    @property
    def metadata(self) -> str:
        """`workload;namespace;canonical name;revision;cluster`, as Istio writes endpoint metadata."""
        name = canonical_name(self.labels, self.owner)
        return f"{self.owner};{self.namespace};{name};{canonical_revision(self.labels)};Kubernetes"


def canonical_name(labels: Mapping[str, str], owner: str) -> str:
    for key in (CANONICAL_NAME, "app.kubernetes.io/name", "app"):
        if labels.get(key):
            return labels[key]
    return owner


def canonical_revision(labels: Mapping[str, str]) -> str:
    for key in (CANONICAL_REVISION, "app.kubernetes.io/version", "version"):
        if labels.get(key):
            return labels[key]
    return "latest"


def spiffe_id(trust_domain: str, namespace: str, service_account: str) -> str:
    """The identity of a service account; `@` is written `.` in a SPIFFE trust domain."""
    return f"spiffe://{trust_domain.replace('@', '.')}/ns/{namespace}/sa/{service_account}"


def owner_name(meta: Object) -> str:
    """The Deployment a pod comes from, or the pod itself."""
    labels = meta.get("labels") or {}
    for reference in meta.get("ownerReferences") or ():
        name = str(reference["name"])
        if reference["kind"] == "ReplicaSet":
            return name.removesuffix(f"-{labels.get(_TEMPLATE_HASH, '')}")
        return name
    return str(meta.get("name") or (meta.get("generateName") or "").rstrip("-"))


def workload_from(pod: Object) -> Workload | None:
    """The workload of a pod; None while it has no address, and once it has ended."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    if not status.get("podIP") or status.get("phase") in ("Succeeded", "Failed") or spec.get("hostNetwork"):
        return None
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    return Workload(
        name=meta["name"],
        namespace=meta["namespace"],
        ip=status["podIP"],
        labels=meta.get("labels") or {},
        service_account=spec.get("serviceAccountName") or "default",
        owner=owner_name(meta),
        ready=ready and not meta.get("deletionTimestamp"),
        named_ports=_named_ports(spec),
        node=spec.get("nodeName") or "",
        locality=label_locality(meta.get("labels") or {}),
        weight=_weight(meta),
    )


def _weight(meta: Object) -> int:
    """The share of traffic beside other workloads; 1 where none is said, or one the API would have refused."""
    text = (meta.get("annotations") or {}).get(LOAD_BALANCING_WEIGHT, "")
    return min(int(text), MAX_WEIGHT) if text.isdecimal() and int(text) else 1


Placed = dict[int, tuple[Workload, Workload]]  # by identity: a workload as it came, and where it was put


def place(
    workloads: Iterable[Workload], nodes: Iterable[Node], placed: Placed | None = None
) -> list[Workload]:
    """Workloads that do not say themselves where they run are where their node is.

    One that is in `placed` at the same place stays the object it was; `placed` then holds these workloads alone.
    """
    where = {node.name: node.locality for node in nodes if node.locality}
    before = placed.copy() if placed else {}
    after: Placed = {}
    found = []
    for workload in workloads:
        locality = where.get(workload.node)
        if locality is not None and not workload.locality:
            known = before.get(id(workload))
            if known is None or known[1].locality != locality:
                known = (workload, replace(workload, locality=locality))
            after[id(workload)] = known
            workload = known[1]
        found.append(workload)
    if placed is not None:
        placed.clear()
        placed.update(after)
    return found


def _named_ports(spec: Object) -> Mapping[str, int]:
    return {
        port["name"]: port["containerPort"]
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("name")
    }
