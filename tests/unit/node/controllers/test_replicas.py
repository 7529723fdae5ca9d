"""Which pods a ReplicaSet makes and lets go."""

from __future__ import annotations

import datetime
from typing import Any

from node.controllers.replicas import count, lacking, new_pod, surplus

NOW = datetime.datetime(2026, 1, 1, 0, 0, 30, tzinfo=datetime.UTC)


def replica_set(replicas: int, min_ready: int = 0) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}, "annotations": {"x": "y"}}, "spec": {"containers": []}}
    return {
        "metadata": {"name": "a-hash", "namespace": "default", "uid": "u"},
        "spec": {"replicas": replicas, "template": template, "minReadySeconds": min_ready},
    }


def pod(
    name: str, ready: bool = True, created: str = "2026-01-01T00:00:00Z", phase: str = "Running", **meta: Any
) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": "2026-01-01T00:00:10Z"}
    return {
        "metadata": {"name": name, "creationTimestamp": created} | meta,
        "status": {"phase": phase, "conditions": [condition]},
    }


def test_what_is_over_or_going_does_not_count() -> None:
    pods = [pod("a"), pod("b", phase="Failed"), pod("c", deletionTimestamp="t")]
    assert lacking(replica_set(3), pods) == 2
    assert surplus(replica_set(1), pods) == []


def test_unready_and_young_pods_go_first() -> None:
    pods = [
        pod("old", created="2026-01-01T00:00:00Z"),
        pod("young", created="2026-01-01T00:00:09Z"),
        pod("unready", ready=False, created="2026-01-01T00:00:00Z"),
    ]
    assert [each["metadata"]["name"] for each in surplus(replica_set(1), pods)] == ["unready", "young"]


def test_available_is_ready_for_long_enough() -> None:
    assert count(replica_set(1, min_ready=20), [pod("a")], NOW).available == 1
    assert count(replica_set(1, min_ready=21), [pod("a")], NOW).available == 0
    assert count(replica_set(1, min_ready=21), [pod("a")], NOW).ready == 1


def test_a_new_pod_is_the_template_with_an_owner() -> None:
    made = new_pod(replica_set(1), "x2k9p")
    assert made["metadata"]["name"] == "a-hash-x2k9p"
    assert made["metadata"]["labels"] == {"app": "a"}
    assert made["metadata"]["ownerReferences"][0] | {"uid": "u"} == made["metadata"]["ownerReferences"][0]
