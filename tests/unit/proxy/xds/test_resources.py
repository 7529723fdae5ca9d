"""Raw resources: merging, removal, identity of what did not change, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, ROUTE
from proxy.xds.resources import EMPTY, ResourceError, Resources, TablePatch, merged


def raw(**fields: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(fields).encode())


def clusters(resources: Resources) -> dict[str, Any]:
    return {name: json.loads(bytes(r.raw)) for name, r in resources[CLUSTER].items()}


def test_change_and_removal() -> None:
    one = merged(EMPTY, {CLUSTER: [raw(name="a"), raw(name="b")]}, {}, version="1", now=1.0)
    two = merged(one, {CLUSTER: [raw(name="b", type="EDS")]}, {CLUSTER: ["a", "zz"]}, version="2", now=2.0)
    assert clusters(two) == {"b": {"name": "b", "type": "EDS"}}
    assert clusters(one) == {"a": {"name": "a"}, "b": {"name": "b"}}
    assert (two[CLUSTER]["b"].version, two[CLUSTER]["b"].updated) == ("2", 2.0)


def test_unchanged_resources_stay_the_same_object() -> None:
    one = merged(EMPTY, {CLUSTER: [raw(name="a")], LISTENER: [raw(name="l")]}, {}, version="1", now=1.0)
    two = merged(one, {CLUSTER: [raw(name="a"), raw(name="b")]}, {}, version="2", now=2.0, full=True)
    assert two[CLUSTER]["a"] is one[CLUSTER]["a"]
    assert two[LISTENER] == {}  # a full answer without listeners has none


def test_endpoints_go_by_cluster_name() -> None:
    found = merged(EMPTY, {ENDPOINT: [raw(cluster_name="c", name="x")]}, {}, version="1", now=0)
    assert list(found[ENDPOINT]) == ["c"]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({CLUSTER: [raw(name="a"), raw(name="a")]}, "duplicate clusters a found"),
        ({CLUSTER: [raw(type="EDS")]}, r"clusters\[0\]: a resource without a name"),
        ({CLUSTER: [msgspec.Raw(b"[]")]}, r"clusters\[0\]"),
        ({"type.googleapis.com/x.Y": []}, "type.googleapis.com/x.Y is not supported"),
    ],
)
def test_refused(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(ResourceError, match=text):
        merged(EMPTY, changed, {}, version="1", now=0)


@pytest.mark.parametrize(("start", "end"), [(0, 3), (2, 3), (-1, 1), (1, 1), (2, 1)])
def test_a_patch_of_another_table_is_refused(start: int, end: int) -> None:
    table = msgspec.Raw(b'{"name":"80","virtual_hosts":[{"name":"a"},{"name":"b"}]}')
    base = merged(EMPTY, {ROUTE: [table]}, {}, version="1", now=1.0)

    def patched(entry: bytes) -> Resources:
        patch = TablePatch("80", [msgspec.Raw(entry)])
        return merged(base, {}, {}, version="2", now=2.0, patches={ROUTE: [patch]})

    assert bytes(patched(b"[0,2]")[ROUTE]["80"].raw) == bytes(table)
    with pytest.raises(ResourceError, match="routes 80: there are no virtual hosts"):
        patched(b"[%d,%d]" % (start, end))
