from __future__ import annotations

from typing import Any

import pytest

from control.registry.service import service_from, visible
from control.registry.workload import owner_name, spiffe_id, workload_from


def _pod(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "reviews-v1-5d-abc", "namespace": "default", "labels": {"app": "reviews"}},
        "spec": {
            "serviceAccountName": "reviews",
            "containers": [{"name": "a", "ports": [{"containerPort": 9080, "name": "web"}]}],
        },
        "status": {
            "podIP": "10.0.0.1",
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            **status,
        },
    }


def test_a_pod_is_a_workload() -> None:
    workload = workload_from(_pod())
    assert workload is not None
    assert (workload.ip, workload.ready, workload.service_account) == ("10.0.0.1", True, "reviews")
    assert (workload.port("web"), workload.port(80), workload.port("x")) == (9080, 80, None)
    assert workload.metadata == "reviews-v1-5d-abc;default;reviews;latest;Kubernetes"


@pytest.mark.parametrize("status", [{"podIP": ""}, {"phase": "Succeeded"}, {"phase": "Failed"}])
def test_what_is_no_workload(status: dict[str, Any]) -> None:
    assert workload_from(_pod(**status)) is None


def test_a_pod_that_is_being_deleted_is_not_ready() -> None:
    pod = _pod()
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    workload = workload_from(pod)
    assert workload is not None
    assert not workload.ready


@pytest.mark.parametrize(
    ("meta", "name"),
    [
        ({"name": "p"}, "p"),
        ({"generateName": "web-"}, "web"),
        (
            {
                "name": "web-5d-x",
                "labels": {"pod-template-hash": "5d"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d"}],
            },
            "web",
        ),
        ({"name": "web-5d-x", "ownerReferences": [{"kind": "Deployment", "name": "web"}]}, "web"),
    ],
)
def test_owner(meta: dict[str, Any], name: str) -> None:
    assert owner_name(meta) == name


def test_spiffe_id() -> None:
    assert spiffe_id("a@b", "ns", "sa") == "spiffe://a.b/ns/ns/sa/sa"


def test_external_names_are_no_services() -> None:
    meta = {"name": "x", "namespace": "y"}
    spec = {"type": "ExternalName", "externalName": "example.com"}
    assert service_from({"metadata": meta, "spec": spec}, "cluster.local") is None


@pytest.mark.parametrize(
    ("export_to", "seen"),
    [((), True), (("*",), True), ((".",), False), (("a",), True), (("~",), False), (("b",), False)],
)
def test_visibility(export_to: tuple[str, ...], seen: bool) -> None:
    assert visible(frozenset(export_to), "owner", "a") is seen
    assert visible(frozenset({"."}), "owner", "owner")
