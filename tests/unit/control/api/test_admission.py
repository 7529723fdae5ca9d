"""Hooks of others: what they see, what they may change and refuse."""

from __future__ import annotations

from typing import Any

import pytest

from control.api.admission import Admission, Denied, Review
from control.resources import namespace
from control.resources.kind import FieldError, Verdict

NS = "/api/v1/namespaces/default"
MERGE = "application/merge-patch+json"


async def inject(review: Review) -> dict[str, Any]:
    """Adds a container to new Pods of Namespaces that ask for it; refuses one name."""
    if review.kind.kind != "Pod" or review.operation != "CREATE":
        return review.object
    if review.object["metadata"]["name"] == "refused":
        raise Denied("no template")
    space = await review.reader.get(namespace.KIND, None, review.namespace)  # type: ignore[attr-defined]
    if (space["metadata"].get("labels") or {}).get("istio-injection") != "enabled":
        return review.object
    spec = review.object["spec"]
    return {
        **review.object,
        "spec": {**spec, "containers": [*spec["containers"], {"name": "istio-proxy", "image": "auto"}]},
    }


async def check(review: Review) -> Verdict:
    if review.object["metadata"]["name"] == "odd":
        return Verdict((FieldError("spec", "is odd"),), ("look again",))
    return Verdict()


@pytest.fixture
def admission() -> Admission:
    return Admission((inject,), (check,))


async def test_mutated_objects_are_defaulted_and_stored(api: Any, make: Any) -> None:
    await api("PATCH", NS, {"metadata": {"labels": {"istio-injection": "enabled"}}}, type=MERGE)
    _, made = await api("POST", f"{NS}/pods", make.pod())
    assert [c["name"] for c in made["spec"]["containers"]] == ["c", "istio-proxy"]
    assert made["spec"]["containers"][1]["imagePullPolicy"] == "Always"
    _, changed = await api("PATCH", f"{NS}/pods/p", {"metadata": {"labels": {"a": "b"}}}, type=MERGE)
    assert len(changed["spec"]["containers"]) == 2


async def test_without_the_label_nothing_is_added(api: Any, make: Any) -> None:
    _, made = await api("POST", f"{NS}/pods", make.pod())
    assert len(made["spec"]["containers"]) == 1


async def test_denial_and_refusal(api: Any, make: Any) -> None:
    code, status = await api("POST", f"{NS}/pods", make.pod("refused"))
    assert (code, status["message"]) == (403, 'pods "refused" is forbidden: no template')
    code, status = await api("POST", f"{NS}/configmaps", make.config_map("odd"))
    assert (code, status["details"]["causes"][0]["message"]) == (422, "is odd")
    assert (await api("GET", f"{NS}/configmaps/odd"))[0] == 404
