"""Environment, command line and user of a container."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.environment import expand, user, variables
from node.images import Program
from node.pod_fields import Placement, UnknownField, field_value, quantity, resource_value

PLACEMENT = Placement("10.244.0.10", "10.244.0.1", "glassmesh", 2, 2**31)
POD = {
    "metadata": {"name": "a-1", "namespace": "shop", "uid": "u", "labels": {"app": "a", "b": 'c"d'}, "annotations": {"x/y": "z"}},
    "spec": {
        "serviceAccountName": "seller",
        "containers": [{"name": "app", "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}}}],
    },
}  # fmt: skip


def nothing(_: str, __: str) -> None:
    return None


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$$(A)", "$(A)"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$$$(A)", "$1"),
    ],
)
def test_expand(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@given(st.text())
def test_text_without_dollar_is_left_alone(text: str) -> None:
    assert expand(text.replace("$", ""), {"A": "1"}) == text.replace("$", "")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "a-1"),
        ("metadata.namespace", "shop"),
        ("metadata.labels['app']", "a"),
        ("metadata.annotations['x/y']", "z"),
        ("metadata.labels['none']", ""),
        ("metadata.labels", 'app="a"\nb="c\\"d"'),
        ("spec.serviceAccountName", "seller"),
        ("spec.nodeName", "glassmesh"),
        ("status.podIP", "10.244.0.10"),
        ("status.hostIP", "10.244.0.1"),
    ],
)
def test_fields(path: str, value: str) -> None:
    assert field_value(POD, path, PLACEMENT) == value


def test_unknown_field() -> None:
    with pytest.raises(UnknownField, match=r"unsupported fieldPath: status\.phase"):
        field_value(POD, "status.phase", PLACEMENT)


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", None, "2"),
        ("limits.cpu", "1m", "1500"),
        ("limits.memory", "1Mi", "64"),
        ("requests.cpu", None, "0"),
    ],
)
def test_resources(resource: str, divisor: str | None, value: str) -> None:
    reference = {"resource": resource} | ({"divisor": divisor} if divisor else {})
    assert resource_value(POD, reference, "app", PLACEMENT) == value


def test_quantities() -> None:
    assert (quantity("1Gi"), quantity("250m"), quantity("2")) == (2**30, 0.25, 2)
    with pytest.raises(UnknownField):
        quantity("many")


def test_variables_in_order_and_from_everywhere() -> None:
    maps = {("configmap", "c"): {"K": "v"}, ("secret", "s"): {"P": "w"}}
    container = {
        "name": "app",
        "envFrom": [{"prefix": "C_", "configMapRef": {"name": "c"}}],
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)$(C_K)"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "P"}}},
            {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "x", "optional": True}}},
        ],
    }
    env = variables(POD, container, {"PATH": "p"}, PLACEMENT, lambda kind, name: maps.get((kind, name)))
    assert env == {"PATH": "p", "C_K": "v", "A": "1", "B": "1v", "IP": "10.244.0.10", "S": "w"}


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "k"}}, 'configmap "no" not found'),
        ({"secretKeyRef": {"name": "no", "key": "k"}}, 'secret "no" not found'),
        ({}, "names no source"),
    ],
)
def test_missing_sources(origin: dict[str, object], words: str) -> None:
    with pytest.raises(UnknownField, match=words):
        variables(POD, {"name": "app", "env": [{"name": "X", "valueFrom": origin}]}, {}, PLACEMENT, nothing)


@pytest.mark.parametrize(
    ("of_pod", "of_container", "wanted"),
    [
        ({}, {}, (1000, 1000, [])),
        ({"runAsUser": 5}, {}, (5, 0, [])),
        ({"runAsUser": 5, "runAsGroup": 6}, {"runAsUser": 7}, (7, 6, [])),
        ({"fsGroup": 9, "supplementalGroups": [8]}, {}, (1000, 1000, [8, 9])),
        ({}, {"runAsUser": 0}, (0, 0, [])),
    ],
)
def test_user(
    of_pod: dict[str, object], of_container: dict[str, object], wanted: tuple[int, int, list[int]]
) -> None:
    pod = {"spec": {"securityContext": of_pod}}
    assert user(pod, {"securityContext": of_container}, Program(("x",))) == wanted
