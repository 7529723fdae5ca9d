"""Where workloads run, who says so, and what they weigh."""

from __future__ import annotations

from typing import Any

import pytest

from control.push.proxy import parse_node
from control.registry.locality import NOWHERE, Locality, node_from, parse_locality
from control.registry.service import service_from
from control.registry.workload import Workload, place, workload_from
from control.resources.metadata import validate_metadata


def pod(labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None) -> Workload:
    workload = workload_from(
        {
            "metadata": {
                "name": "a",
                "namespace": "b",
                "labels": labels or {},
                "annotations": annotations or {},
            },
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"podIP": "10.0.0.1"},
        }
    )
    assert workload is not None
    return workload


def node(name: str, **labels: str) -> dict[str, Any]:
    keys = {
        "region": "topology.kubernetes.io/region",
        "zone": "topology.kubernetes.io/zone",
        "subzone": "topology.istio.io/subzone",
    }
    return {"metadata": {"name": name, "labels": {keys[key]: value for key, value in labels.items()}}}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("r", ("r", "", "")),
        ("r.z", ("r", "z", "")),
        ("r.z.s", ("r", "z", "s")),
        ("r/z/s", ("r", "z", "s")),
        ("r/z.1/s.2", ("r", "z.1", "s.2")),  # with slashes a dot is a dot
        ("r.z.s.t", ("r", "z", "s")),
    ],
)
def test_the_label_of_a_pod(text: str, parts: tuple[str, str, str]) -> None:
    assert parse_locality(text) == Locality(*parts)
    assert pod({"istio-locality": text}).locality == Locality(*parts)


def test_a_pod_is_where_its_node_is_unless_it_says_otherwise() -> None:
    nodes = [node_from(node("n1", region="r", zone="z", subzone="s")), node_from(node("n2"))]
    assert [one.locality for one in place([pod(), pod({"istio-locality": "x"})], nodes)] == [
        Locality("r", "z", "s"),
        Locality("x"),
    ]
    assert [one.locality for one in place([pod()], [])] == [NOWHERE]


def test_labels_of_a_place() -> None:
    (workload,) = place([pod({"app": "a"})], [node_from(node("n1", region="r", zone="z"))])
    assert workload.topology_labels == {
        "app": "a",
        "kubernetes.io/hostname": "n1",
        "topology.kubernetes.io/region": "r",
        "topology.kubernetes.io/zone": "z",
    }


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("r", True),
        ("*", True),
        ("r/*", True),
        ("r/z", True),
        ("r/z/*", True),
        ("r/z/s", True),
        ("r/z/t", False),
        ("r/y", False),
        ("q", False),
        ("", False),
    ],
)
def test_matching(rule: str, holds: bool) -> None:
    assert Locality("r", "z", "s").matches(rule) == holds


@pytest.mark.parametrize(
    ("text", "weight"), [("", 1), ("3", 3), ("0", 1), ("-1", 1), ("x", 1), ("99999999999", 65535)]
)
def test_a_pod_may_have_a_weight(text: str, weight: int) -> None:
    assert pod(annotations={"glassmesh.io/load-balancing-weight": text}).weight == weight


def test_the_node_of_a_proxy_may_say_where_it_is() -> None:
    told = parse_node({"id": "sidecar~10.0.0.1~a.b~b", "locality": {"region": "r", "sub_zone": "s"}})
    assert told.locality == Locality("r", "", "s")
    assert parse_node({"id": "sidecar~10.0.0.1~a.b~b"}).locality == NOWHERE


@pytest.mark.parametrize(
    ("spec", "annotations", "wanted"),
    [
        ({}, {}, ""),
        ({"trafficDistribution": "PreferClose"}, {}, "PreferClose"),
        ({}, {"networking.istio.io/traffic-distribution": "PreferSameNode"}, "PreferSameNode"),
    ],
)
def test_traffic_distribution(spec: dict[str, str], annotations: dict[str, str], wanted: str) -> None:
    made = service_from(
        {"metadata": {"name": "a", "namespace": "b", "annotations": annotations}, "spec": spec}, "c"
    )
    assert made is not None
    assert made.traffic_distribution == wanted


@pytest.mark.parametrize(
    ("text", "refused"),
    [("3", False), ("0", True), ("x", True), ("65535", False), ("65536", True), ("-1", True)],
)
def test_a_weight_that_is_none_is_refused(text: str, refused: bool) -> None:
    meta = {"name": "a", "namespace": "b", "annotations": {"glassmesh.io/load-balancing-weight": text}}
    errors = validate_metadata({"kind": "Pod", "metadata": meta}).errors
    assert [error.path for error in errors] == (
        ["metadata.annotations[glassmesh.io/load-balancing-weight]"] if refused else []
    )
