"""Label and field selectors."""

from __future__ import annotations

from typing import Any

import pytest

from control.resources.selectors import BadSelector, matches_label_selector, parse_fields, parse_labels


@pytest.mark.parametrize(
    ("text", "yes", "no"),
    [
        ("", [{}, {"a": "b"}], []),
        ("a=b", [{"a": "b"}], [{}, {"a": "c"}]),
        ("a==b", [{"a": "b"}], [{"a": "c"}]),
        ("a!=b", [{}, {"a": "c"}], [{"a": "b"}]),
        ("a in (b, c)", [{"a": "b"}, {"a": "c"}], [{}, {"a": "d"}]),
        ("a notin (b,c)", [{}, {"a": "d"}], [{"a": "b"}]),
        ("a", [{"a": ""}], [{}]),
        ("!a", [{}], [{"a": ""}]),
        ("a=", [{"a": ""}], [{}, {"a": "x"}]),
        ("example.com/a=b,c in (d,e),!f", [{"example.com/a": "b", "c": "d"}], [{"example.com/a": "b", "c": "d", "f": ""}]),
    ],
)  # fmt: skip
def test_labels(text: str, yes: list[Any], no: list[Any]) -> None:
    matches = parse_labels(text)
    assert all(matches(labels) for labels in yes)
    assert not any(matches(labels) for labels in no)


@pytest.mark.parametrize("text", ["!!", "a b", "=b", "a in b"])
def test_bad_labels(text: str) -> None:
    with pytest.raises(BadSelector):
        parse_labels(text)


def test_fields() -> None:
    obj = {"metadata": {"name": "a"}, "spec": {"nodeName": "n", "on": True}, "involvedObject": {"uid": "u"}}
    for text in (
        "metadata.name=a",
        "spec.nodeName==n,involvedObject.uid=u",
        "status.phase=",
        "status.phase!=Running",
        "spec.on=true",
    ):
        assert parse_fields(text)(obj), text
    for text in ("metadata.name!=a", "spec.nodeName=", "metadata.name=a,metadata.namespace=x"):
        assert not parse_fields(text)(obj), text
    with pytest.raises(BadSelector, match="invalid selector"):
        parse_fields("metadata.name")


@pytest.mark.parametrize(
    ("term", "yes", "no"),
    [
        ({"key": "a", "operator": "In", "values": ["1"]}, [{"a": "1"}], [{}, {"a": "2"}]),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, [{}, {"a": "2"}], [{"a": "1"}]),
        ({"key": "a", "operator": "Exists"}, [{"a": ""}], [{}]),
        ({"key": "a", "operator": "DoesNotExist"}, [{}], [{"a": ""}]),
    ],
)
def test_label_selector_objects(term: Any, yes: list[Any], no: list[Any]) -> None:
    selector = {"matchExpressions": [term]}
    assert all(matches_label_selector(selector, labels) for labels in yes)
    assert not any(matches_label_selector(selector, labels) for labels in no)
    assert not matches_label_selector({"matchLabels": {"b": "1"}, **selector}, yes[0])
