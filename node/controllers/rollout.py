"""How many pods of which ReplicaSet a Deployment wants next: names, scaling steps and rollout status.

Pure. Reference: kube-controller-manager's deployment controller (rolling.go, recreate.go, sync.go), Kubernetes "Deployments".
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from node.api_client import Object

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
# Kubernetes' alphabet for generated names: no vowels, so no words.
ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Object) -> str:
    """Ten characters that name a template."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in digest[:10])


def suffix(random_bytes: bytes) -> str:
    """The end of a generated name."""
    return "".join(ALPHABET[byte % len(ALPHABET)] for byte in random_bytes)


def new_replica_set(deployment: Object, revision: int) -> Object:
    """The ReplicaSet of the Deployment's present template, with no pods yet."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    hashed = template_hash(spec["template"])
    template = json.loads(json.dumps(spec["template"]))
    template.setdefault("metadata", {}).setdefault("labels", {})[HASH_LABEL] = hashed
    selector = json.loads(json.dumps(spec["selector"]))
    selector.setdefault("matchLabels", {})[HASH_LABEL] = hashed
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{hashed}",
            "namespace": metadata["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {REVISION: str(revision)},
            "ownerReferences": [owner(deployment, "Deployment")],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }


def owner(obj: Object, kind: str) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "name": obj["metadata"]["name"],
        "uid": obj["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def revision(replica_set: Object) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, 0))


@dataclass(frozen=True, slots=True)
class Counts:
    """One ReplicaSet's size: asked for, existing, ready, and ready for long enough."""

    wanted: int
    existing: int
    ready: int
    available: int


def scale(deployment: Object, new: Counts, old: Sequence[Counts]) -> tuple[int, list[int]]:
    """The sizes the new and each old ReplicaSet are to have now; called again whenever a pod changed."""
    spec = deployment["spec"]
    replicas = int(spec["replicas"])
    if spec.get("paused") and (new.wanted or old):
        return new.wanted, [counts.wanted for counts in old]
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        return (0 if any(c.existing for c in old) else replicas), [0 for _ in old]
    surge, unavailable = limits(spec)
    total = new.wanted + sum(counts.wanted for counts in old)
    grown = (
        min(replicas, new.wanted + max(0, replicas + surge - total)) if new.wanted < replicas else replicas
    )
    return grown, _shrink(replicas - unavailable, new, old)


def _shrink(minimum: int, new: Counts, old: Sequence[Counts]) -> list[int]:
    """Old sizes: pods that do not work go first, then as many as leave `minimum` available.

    A pod that is to go already counts as gone, although it still runs.
    """
    sizes = [min(counts.wanted, counts.available) for counts in old]
    spare = min(new.wanted, new.available) + sum(sizes) - minimum
    for index, size in enumerate(sizes):
        less = max(0, min(size, spare))
        sizes[index] -= less
        spare -= less
    return sizes


def limits(spec: Object) -> tuple[int, int]:
    """maxSurge and maxUnavailable as numbers of pods; never both 0, or nothing could move."""
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    replicas = int(spec["replicas"])
    surge = _number(rolling.get("maxSurge", "25%"), replicas, math.ceil)
    unavailable = _number(rolling.get("maxUnavailable", "25%"), replicas, math.floor)
    return surge, unavailable if surge or unavailable else 1


def _number(value: int | str, of: int, rounding: Any) -> int:
    if isinstance(value, str) and value.endswith("%"):
        return int(rounding(of * int(value[:-1]) / 100))
    return int(value)


def status(deployment: Object, new: Counts, old: Sequence[Counts], now: str) -> Object:
    """The Deployment's status, in the fields `kubectl rollout status` and `kubectl get` read."""
    replicas = int(deployment["spec"]["replicas"])
    everyone = [new, *old]
    existing, available = sum(c.existing for c in everyone), sum(c.available for c in everyone)
    _, unavailable = limits(deployment["spec"])
    enough = available >= replicas - unavailable
    complete = new.existing == replicas == existing and available == replicas
    before = deployment.get("status") or {}
    conditions = [
        _condition(
            before, "Available", enough, now,
            ("MinimumReplicasAvailable", "Deployment has minimum availability."),
            ("MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
        ),
        _condition(
            before, "Progressing", True, now,
            ("NewReplicaSetAvailable", "ReplicaSet has successfully progressed.") if complete
            else ("ReplicaSetUpdated", "ReplicaSet is progressing."),
        ),
    ]  # fmt: skip
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": existing,
        "updatedReplicas": new.existing,
        "readyReplicas": sum(c.ready for c in everyone),
        "availableReplicas": available,
        "unavailableReplicas": max(0, replicas - available),
        "conditions": conditions,
    }


def _condition(
    before: Object, kind: str, true: bool, now: str, yes: tuple[str, str], no: tuple[str, str] = ("", "")
) -> Object:
    reason, message = yes if true else no
    new = {"type": kind, "status": "True" if true else "False", "reason": reason, "message": message}
    old = next((c for c in before.get("conditions") or [] if c["type"] == kind), None)
    if old is None or old["status"] != new["status"]:
        return new | {"lastTransitionTime": now, "lastUpdateTime": now}
    changed = old.get("reason") != reason
    return new | {
        "lastTransitionTime": old["lastTransitionTime"],
        "lastUpdateTime": now if changed else old.get("lastUpdateTime", now),
    }
