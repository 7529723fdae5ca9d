"""Which pods a ReplicaSet lacks or has too many of, and how its pods are counted.

Pure. Reference: kube-controller-manager's replicaset controller; k8s.io/kubernetes/pkg/controller ActivePodsWithRanks.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence

from node.api_client import Object
from node.controllers.rollout import Counts, owner


def is_active(pod: Object) -> bool:
    """Counts towards the size: neither over nor on its way out."""
    phase = (pod.get("status") or {}).get("phase")
    return phase not in ("Succeeded", "Failed") and not pod["metadata"].get("deletionTimestamp")


def ready_since(pod: Object) -> str | None:
    """When the pod became ready, or None."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return str(condition.get("lastTransitionTime") or "")
    return None


def is_ready(pod: Object) -> bool:
    return ready_since(pod) is not None


def is_available(pod: Object, min_ready_seconds: float, now: datetime.datetime) -> bool:
    """Ready for at least `min_ready_seconds`."""
    since = ready_since(pod)
    if since is None or not min_ready_seconds:
        return since is not None
    began = datetime.datetime.strptime(since, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.UTC)
    return (now - began).total_seconds() >= min_ready_seconds


def count(replica_set: Object, pods: Sequence[Object], now: datetime.datetime) -> Counts:
    """`pods` are all pods the ReplicaSet owns."""
    active = [pod for pod in pods if is_active(pod)]
    seconds = float(replica_set["spec"].get("minReadySeconds") or 0)
    return Counts(
        wanted=int(replica_set["spec"]["replicas"]),
        existing=len(active),
        ready=sum(is_ready(pod) for pod in active),
        available=sum(is_available(pod, seconds, now) for pod in active),
    )


def surplus(replica_set: Object, pods: Sequence[Object]) -> list[Object]:
    """The pods to delete: those that are not ready before those that are, the youngest first."""
    active = [pod for pod in pods if is_active(pod)]
    excess = len(active) - int(replica_set["spec"]["replicas"])
    if excess <= 0:
        return []
    active.sort(key=lambda pod: pod["metadata"]["creationTimestamp"], reverse=True)
    active.sort(key=is_ready)
    return active[:excess]


def lacking(replica_set: Object, pods: Sequence[Object]) -> int:
    return max(0, int(replica_set["spec"]["replicas"]) - sum(is_active(pod) for pod in pods))


def new_pod(replica_set: Object, end_of_name: str) -> Object:
    """A pod of the ReplicaSet's template."""
    template = json.loads(json.dumps(replica_set["spec"]["template"]))
    name = replica_set["metadata"]["name"]
    metadata = template.get("metadata") or {}
    kept = {field: metadata[field] for field in ("labels", "annotations") if metadata.get(field)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": kept
        | {
            "name": f"{name}-{end_of_name}",
            "generateName": f"{name}-",
            "namespace": replica_set["metadata"]["namespace"],
            "ownerReferences": [owner(replica_set, "ReplicaSet")],
        },
        "spec": template["spec"],
    }


def status(replica_set: Object, counts: Counts) -> Object:
    return {
        "observedGeneration": replica_set["metadata"].get("generation", 1),
        "replicas": counts.existing,
        "fullyLabeledReplicas": counts.existing,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
    }
