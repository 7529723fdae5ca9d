"""One push after the other: what did not change keeps its object, what is wrong is named whole."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from proxy.config.decode import CLUSTER, ENDPOINT, ConfigError
from proxy.config.on_demand import source
from proxy.config.snapshot import Raws, Snapshot, build


def push(**clusters: Any) -> Raws:
    return {
        CLUSTER: {
            name: msgspec.Raw(json.dumps({"name": name, "type": "EDS", **more}).encode())
            for name, more in clusters.items()
        }
    }


def test_unchanged_resources_keep_their_object() -> None:
    one = build("1", push(a={}, b={}), Snapshot())
    two = build("2", push(a={}, b={"lb_policy": "RANDOM"}, c={}), one)
    assert source(two.clusters, "a") is source(one.clusters, "a")
    assert source(two.clusters, "b") is not source(one.clusters, "b")
    assert (sorted(two.clusters), two.version) == (["a", "b", "c"], "2")
    assert (sorted(one.clusters), one.clusters["b"].lb_policy) == (["a", "b"], "ROUND_ROBIN")


def test_what_is_not_in_a_push_is_gone() -> None:
    one = build("1", push(a={}, b={}), Snapshot())
    assert list(build("2", push(b={}), one).clusters) == ["b"]
    assert build("3", {}, one).clusters == {}


def test_a_refused_push_names_every_fault_and_leaves_the_old_one() -> None:
    one = build("1", push(a={}), Snapshot())
    bad: dict[str, Any] = {**push(a={"foo": 1}, b={}, c={"type": "X"}), ENDPOINT: {"e": msgspec.Raw(b"{}")}}
    with pytest.raises(ConfigError) as refused:
        build("2", bad, one)
    assert str(refused.value).split("; ") == [
        'clusters["a"].foo: not implemented',
        "clusters[\"c\"]: cluster type 'X' is not implemented",
        'endpoints["e"]: object missing required field `cluster_name`',
    ]
    assert list(one.clusters) == ["a"]


def test_types_the_snapshot_does_not_hold_are_left_alone() -> None:
    assert build("1", {"type.googleapis.com/x.Y": {"n": msgspec.Raw(b"{}")}}, Snapshot()).version == "1"
