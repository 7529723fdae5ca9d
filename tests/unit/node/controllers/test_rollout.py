"""Rolling updates simulated to their end: the promises of maxSurge and maxUnavailable hold at every step."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.controllers.rollout import Counts, limits, new_replica_set, scale, status, template_hash


def deployment(replicas: int, **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c"}]}}
    return {
        "metadata": {"name": "a", "namespace": "default", "uid": "u", "generation": 3},
        "spec": {"replicas": replicas, "template": template, "selector": {"matchLabels": {"app": "a"}}}
        | spec,
    }


def rolling(surge: int | str, unavailable: int | str) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


@pytest.mark.parametrize(
    ("replicas", "strategy", "expected"),
    [
        (4, {}, (1, 1)),
        (1, {}, (1, 0)),
        (10, rolling("25%", "25%"), (3, 2)),
        (3, rolling(0, "10%"), (0, 1)),
        (3, rolling(2, 0), (2, 0)),
    ],
)
def test_limits(replicas: int, strategy: dict[str, Any], expected: tuple[int, int]) -> None:
    assert limits(deployment(replicas, strategy=strategy)["spec"]) == expected


@given(
    replicas=st.integers(0, 12),
    surge=st.integers(0, 5),
    unavailable=st.integers(0, 5),
    start=st.integers(0, 12),
    broken=st.booleans(),
)
def test_a_rolling_update_keeps_its_promises(
    replicas: int, surge: int, unavailable: int, start: int, broken: bool
) -> None:
    """Pods come and go one step at a time; enough stay available, not too many exist, and it ends."""
    subject = deployment(replicas, strategy=rolling(surge, unavailable))
    surge, unavailable = limits(subject["spec"])
    new = Counts(0, 0, 0, 0)
    old = Counts(start, start, start, start)
    for step in range(120):
        size, (old_size,) = scale(subject, new, [old])
        if step % 2:  # asked for, but not yet done: the same pods run
            new = Counts(size, new.existing, new.ready, new.available)
            old = Counts(old_size, old.existing, old.ready, old.available)
            continue
        assert size + old_size <= max(replicas + surge, start)
        if start >= replicas - unavailable:
            assert min(old_size, old.available) + new.available >= min(
                replicas - unavailable, old.available + new.available
            )
        works = 0 if broken else size
        new, old = Counts(size, size, works, works), Counts(old_size, old_size, old_size, old_size)
    if not broken:
        assert (new.wanted, old.wanted) == (replicas, 0)
    elif start >= replicas:
        assert old.available >= replicas - unavailable


def test_recreate_waits_for_the_last_old_pod() -> None:
    subject = deployment(2, strategy={"type": "Recreate"})
    assert scale(subject, Counts(0, 0, 0, 0), [Counts(2, 2, 2, 2)]) == (0, [0])
    assert scale(subject, Counts(0, 0, 0, 0), [Counts(0, 1, 0, 0)]) == (0, [0])
    assert scale(subject, Counts(0, 0, 0, 0), [Counts(0, 0, 0, 0)]) == (2, [0])


def test_paused_changes_nothing() -> None:
    subject = deployment(5, paused=True)
    assert scale(subject, Counts(1, 1, 1, 1), [Counts(2, 2, 2, 2)]) == (1, [2])


def test_scaling_in_and_out() -> None:
    assert scale(deployment(5), Counts(2, 2, 2, 2), []) == (5, [])
    assert scale(deployment(1), Counts(4, 4, 4, 4), []) == (1, [])


def test_names_follow_the_template() -> None:
    one, other = deployment(1), deployment(1)
    other["spec"]["template"]["metadata"]["labels"]["version"] = "v2"
    hashes = {template_hash(each["spec"]["template"]) for each in (one, other, deployment(9))}
    assert len(hashes) == 2
    made = new_replica_set(one, 4)
    hashed = template_hash(one["spec"]["template"])
    assert made["metadata"]["name"] == f"a-{hashed}"
    assert made["spec"]["selector"]["matchLabels"] == {"app": "a", "pod-template-hash": hashed}
    assert made["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] == hashed
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert "pod-template-hash" not in one["spec"]["template"]["metadata"]["labels"]


def test_status_says_when_it_is_done() -> None:
    done = status(deployment(2), Counts(2, 2, 2, 2), [], "t")
    assert {c["type"]: c["reason"] for c in done["conditions"]} == {
        "Available": "MinimumReplicasAvailable",
        "Progressing": "NewReplicaSetAvailable",
    }
    going = status(deployment(2), Counts(1, 1, 0, 0), [Counts(2, 2, 2, 2)], "t")
    assert (going["updatedReplicas"], going["replicas"], going["availableReplicas"]) == (1, 3, 2)
    assert going["observedGeneration"] == 3
    assert going["conditions"][1]["reason"] == "ReplicaSetUpdated"
