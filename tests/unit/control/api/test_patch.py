"""Patch formats, as tables of document, patch, result."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.api.patch import BadPatch, json_patch, merge_patch, strategic_merge

KEYS = {"ports": "port", "tags": "", "pod.containers": "name", "pod.containers.env": "name"}


@pytest.mark.parametrize(
    ("document", "operations", "expected"),
    [
        ({"a": 1}, [{"op": "add", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 3]}, [{"op": "add", "path": "/a/1", "value": 2}], {"a": [1, 2, 3]}),
        ({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}], {"a": [1, 2]}),
        ({"a": 1, "b": 2}, [{"op": "remove", "path": "/a"}], {"b": 2}),
        ({"a": 1}, [{"op": "replace", "path": "/a", "value": None}], {"a": None}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}], {"b": 1}),
        ({"a": {"x": 1}}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": {"x": 1}, "b": {"x": 1}}),
        ({"a/b": {"~": 1}}, [{"op": "replace", "path": "/a~1b/~0", "value": 2}], {"a/b": {"~": 2}}),
        ({"a": 1}, [{"op": "add", "path": "", "value": {"b": 1}}], {"b": 1}),
    ],
)
def test_json_patch(document: Any, operations: Any, expected: Any) -> None:
    assert json_patch(document, operations) == expected


@pytest.mark.parametrize(
    "operations",
    [
        {},
        [{"op": "test", "path": "/a", "value": 2}],
        [{"op": "remove", "path": "/b"}],
        [{"op": "replace", "path": "/b", "value": 1}],
        [{"op": "add", "path": "/x/y", "value": 1}],
        [{"op": "add", "path": "b", "value": 1}],
        [{"op": "dance", "path": "/a"}],
        [{"op": "add", "path": "/l/5", "value": 1}],
        [{"op": "add", "path": "/l/x", "value": 1}],
        [{"path": "/a"}],
    ],
)
def test_json_patch_refuses(operations: Any) -> None:
    document = {"a": 1, "l": []}
    with pytest.raises(BadPatch):
        json_patch(document, operations)
    assert document == {"a": 1, "l": []}


@pytest.mark.parametrize(  # the examples of RFC 7386, appendix A
    ("document", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(document: Any, patch: Any, expected: Any) -> None:
    assert merge_patch(document, patch) == expected


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"ports": [{"port": 1, "n": "a"}]}, {"ports": [{"port": 1, "n": "b"}]}, {"ports": [{"port": 1, "n": "b"}]}),
        ({"ports": [{"port": 1}]}, {"ports": [{"port": 2}]}, {"ports": [{"port": 1}, {"port": 2}]}),
        ({"ports": [{"port": 1}, {"port": 2}]}, {"ports": [{"port": 1, "$patch": "delete"}]}, {"ports": [{"port": 2}]}),
        ({"ports": [{"port": 1}]}, {"ports": [{"$patch": "replace"}, {"port": 3}]}, {"ports": [{"port": 3}]}),
        (
            {"ports": [{"port": 1}, {"port": 2}]},
            {"$setElementOrder/ports": [{"port": 2}, {"port": 3}, {"port": 1}], "ports": [{"port": 3}]},
            {"ports": [{"port": 2}, {"port": 3}, {"port": 1}]},
        ),
        ({"ports": [{"port": 1}, {"port": 2}]}, {"$setElementOrder/ports": [{"port": 2}, {"port": 1}]}, {"ports": [{"port": 2}, {"port": 1}]}),
        ({"tags": ["a"]}, {"tags": ["b", "a"]}, {"tags": ["a", "b"]}),
        ({"tags": ["a", "b"]}, {"$deleteFromPrimitiveList/tags": ["a"]}, {"tags": ["b"]}),
        ({"args": ["a"]}, {"args": ["b"]}, {"args": ["b"]}),
        ({"a": {"x": 1}}, {"a": {"$patch": "replace", "y": 2}}, {"a": {"y": 2}}),
        ({"s": {"type": "A", "x": 1}}, {"s": {"$retainKeys": ["type"], "type": "B"}}, {"s": {"type": "B"}}),
        (
            {"pod": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}]}]}},
            {"pod": {"containers": [{"name": "c", "env": [{"name": "B", "value": "2"}], "image": None}]}},
            {"pod": {"containers": [{"name": "c", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}},
        ),
    ],
)  # fmt: skip
def test_strategic_merge(document: Any, patch: Any, expected: Any) -> None:
    assert strategic_merge(document, patch, KEYS) == expected


def test_strategic_merge_needs_the_key() -> None:
    with pytest.raises(BadPatch, match="does not contain declared merge key: port"):
        strategic_merge({"ports": []}, {"ports": [{"n": 1}]}, KEYS)


documents = st.recursive(
    st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3) | st.lists(inner, max_size=2),
    max_leaves=8,
)


@given(documents, documents)
def test_merge_patch_is_idempotent_and_leaves_its_input(document: Any, patch: Any) -> None:
    before = copy.deepcopy(document)
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once
    assert strategic_merge(document, patch, {}) == once
    assert document == before
