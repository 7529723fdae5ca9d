"""Deletion: finalizers, graceful Pods, owners and Namespaces."""

from __future__ import annotations

from typing import Any

import pytest

NS = "/api/v1/namespaces/default"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
REPLICA_SETS = "/apis/apps/v1/namespaces/default/replicasets"
MERGE = "application/merge-patch+json"


def is_gone(code: int, _body: Any) -> bool:
    return code == 404


async def test_finalizers_hold_an_object(api: Any, make: Any) -> None:
    body = make.config_map()
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await api("POST", f"{NS}/configmaps", body)
    code, marked = await api("DELETE", f"{NS}/configmaps/c")
    assert (code, bool(marked["metadata"]["deletionTimestamp"])) == (200, True)
    assert (await api("GET", f"{NS}/configmaps/c"))[0] == 200
    await api("PATCH", f"{NS}/configmaps/c", {"metadata": {"finalizers": None}}, type=MERGE)
    assert (await api("GET", f"{NS}/configmaps/c"))[0] == 404


async def test_a_client_cannot_mark_or_unmark(api: Any, make: Any) -> None:
    body = make.config_map()
    body["metadata"] |= {
        "finalizers": ["example.com/hold"],
        "deletionTimestamp": "2020-01-01T00:00:00Z",
        "uid": "mine",
    }
    _, made = await api("POST", f"{NS}/configmaps", body)
    assert "deletionTimestamp" not in made["metadata"]
    assert made["metadata"]["uid"] != "mine"
    await api("DELETE", f"{NS}/configmaps/c")
    _, same = await api("PATCH", f"{NS}/configmaps/c", {"metadata": {"deletionTimestamp": None}}, type=MERGE)
    assert same["metadata"]["deletionTimestamp"]


async def test_a_running_pod_ends_when_its_node_says_so(api: Any, make: Any) -> None:
    await api("POST", f"{NS}/pods", make.pod(nodeName="node", terminationGracePeriodSeconds=20))
    _, marked = await api("DELETE", f"{NS}/pods/p")
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 20
    await api("PATCH", f"{NS}/pods/p/status", {"status": {"phase": "Running"}}, type=MERGE)
    _, again = await api("DELETE", f"{NS}/pods/p", {"gracePeriodSeconds": 60})
    assert again["metadata"]["deletionGracePeriodSeconds"] == 20
    _, shorter = await api("DELETE", f"{NS}/pods/p", {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
    confirm = {"gracePeriodSeconds": 0, "preconditions": {"uid": marked["metadata"]["uid"]}}
    assert (await api("DELETE", f"{NS}/pods/p", confirm))[0] == 200
    assert (await api("GET", f"{NS}/pods/p"))[0] == 404


@pytest.mark.parametrize(
    ("spec", "status", "options"),
    [
        ({}, {}, {}),  # no node runs it
        ({"nodeName": "n"}, {"phase": "Succeeded"}, {}),
        ({"nodeName": "n"}, {"phase": "Running"}, {"gracePeriodSeconds": 0}),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 0}, {"phase": "Running"}, {}),
    ],
)
async def test_pods_that_go_at_once(api: Any, make: Any, spec: Any, status: Any, options: Any) -> None:
    await api("POST", f"{NS}/pods", make.pod(**spec))
    await api("PATCH", f"{NS}/pods/p/status", {"status": status}, type=MERGE)
    await api("DELETE", f"{NS}/pods/p", options)
    assert (await api("GET", f"{NS}/pods/p"))[0] == 404


async def owned(api: Any, make: Any) -> tuple[Any, Any]:
    """A Deployment, its ReplicaSet, and the ReplicaSet's Pod."""
    _, top = await api("POST", DEPLOYMENTS, make.deployment())
    middle = {**make.deployment("middle"), "kind": "ReplicaSet"}
    middle["metadata"]["ownerReferences"] = [reference(top)]
    _, middle = await api("POST", REPLICA_SETS, middle)
    bottom = make.pod(nodeName="n")
    bottom["metadata"]["ownerReferences"] = [reference(middle)]
    await api("POST", f"{NS}/pods", bottom)
    return top, middle


def reference(owner: Any) -> dict[str, Any]:
    meta = owner["metadata"]
    kind = {"apiVersion": "apps/v1", "kind": owner["kind"], "name": meta["name"], "uid": meta["uid"]}
    return {**kind, "controller": True, "blockOwnerDeletion": True}


async def test_background_deletion_takes_the_dependents(api: Any, make: Any) -> None:
    await owned(api, make)
    await api("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Background"})
    assert (await api("GET", f"{DEPLOYMENTS}/web"))[0] == 404
    await api.until(f"{REPLICA_SETS}/middle", is_gone)
    await api.until(f"{NS}/pods/p", lambda _code, body: "deletionTimestamp" in body["metadata"])


async def test_foreground_deletion_waits_for_the_dependents(api: Any, make: Any) -> None:
    await owned(api, make)
    await api("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Foreground"})
    await api.until(f"{NS}/pods/p", lambda _code, body: "deletionTimestamp" in body["metadata"])
    assert (await api("GET", f"{DEPLOYMENTS}/web"))[0] == 200
    assert (await api("GET", f"{REPLICA_SETS}/middle"))[0] == 200
    await api("DELETE", f"{NS}/pods/p", {"gracePeriodSeconds": 0})
    await api.until(f"{DEPLOYMENTS}/web", is_gone)
    await api.until(f"{REPLICA_SETS}/middle", is_gone)


async def test_orphaning_deletion_leaves_the_dependents(api: Any, make: Any) -> None:
    await owned(api, make)
    await api("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Orphan"})
    await api.until(f"{DEPLOYMENTS}/web", is_gone)
    _, middle = await api("GET", f"{REPLICA_SETS}/middle")
    assert not middle["metadata"].get("ownerReferences")


async def test_an_object_created_for_a_gone_owner_goes_too(api: Any, make: Any) -> None:
    body = make.config_map()
    ghost = {"kind": "Deployment", "metadata": {"name": "ghost", "uid": "no-such-uid"}}
    body["metadata"]["ownerReferences"] = [reference(ghost)]
    await api("POST", f"{NS}/configmaps", body)
    await api.until(f"{NS}/configmaps/c", is_gone)


async def test_a_namespace_goes_when_it_is_empty(api: Any, make: Any) -> None:
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    shop = "/api/v1/namespaces/shop"
    await api("POST", f"{shop}/configmaps", make.config_map())
    await api("POST", f"{shop}/pods", make.pod(nodeName="n"))
    _, marked = await api("DELETE", shop)
    assert marked["status"]["phase"] == "Terminating"
    code, status = await api("POST", f"{shop}/configmaps", make.config_map("late"))
    assert (code, "being terminated" in status["message"]) == (403, True)
    await api.until(f"{shop}/pods/p", lambda _code, body: "deletionTimestamp" in body["metadata"])
    await api.until(f"{shop}/configmaps/c", is_gone)
    assert (await api("GET", shop))[0] == 200
    await api("DELETE", f"{shop}/pods/p", {"gracePeriodSeconds": 0})
    await api.until(shop, is_gone)
    assert (await api("GET", "/api/v1/serviceaccounts"))[1]["items"][-1]["metadata"]["namespace"] != "shop"
