"""Who owns which field, and what happens when two want the same one."""

from __future__ import annotations

from typing import Any

from control.api.managed_fields import from_fields_v1, leaves, to_fields_v1

DEPLOYMENT = "/apis/apps/v1/namespaces/default/deployments/web"
CONFIG = "/api/v1/namespaces/default/configmaps/c"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


async def apply(api: Any, path: str, manager: str, body: Any, force: bool = False) -> tuple[int, Any]:
    query = f"?fieldManager={manager}" + ("&force=true" if force else "")
    return await api("PATCH", path + query, body, type=APPLY)


def data(**values: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": values}


async def test_creates_then_changes(api: Any) -> None:
    assert (await apply(api, CONFIG, "me", data(a="1")))[0] == 201
    code, changed = await apply(api, CONFIG, "me", data(a="2"))
    assert (code, changed["data"]) == (200, {"a": "2"})
    _, same = await apply(api, CONFIG, "me", data(a="2"))
    assert same["metadata"]["resourceVersion"] == changed["metadata"]["resourceVersion"]


async def test_needs_a_manager(api: Any) -> None:
    assert (await api("PATCH", CONFIG, data(a="1"), type=APPLY))[0] == 400


async def test_what_is_no_longer_wanted_goes_unless_another_wants_it(api: Any) -> None:
    await apply(api, CONFIG, "me", data(a="1", b="1", c="1"))
    await apply(api, CONFIG, "you", data(b="1"))
    _, after = await apply(api, CONFIG, "me", data(a="1"))
    assert after["data"] == {"a": "1", "b": "1"}


async def test_conflicts_name_the_field_and_the_manager(api: Any) -> None:
    await apply(api, CONFIG, "me", data(a="1", b="1"))
    code, status = await apply(api, CONFIG, "you", data(a="2", b="2"))
    assert (code, status["reason"]) == (409, "Conflict")
    assert status["message"].startswith('Apply failed with 2 conflicts: conflicts with "me":')
    assert [cause["field"] for cause in status["details"]["causes"]] == [".data.a", ".data.b"]
    assert (await api("GET", CONFIG))[1]["data"] == {"a": "1", "b": "1"}
    code, forced = await apply(api, CONFIG, "you", data(a="2", b="1"), force=True)
    assert (code, forced["data"]) == (200, {"a": "2", "b": "1"})
    _, mine = await apply(api, CONFIG, "me", data(b="1"))
    assert mine["data"] == {"a": "2", "b": "1"}


async def test_an_update_takes_ownership_of_what_it_changes(api: Any) -> None:
    await apply(api, CONFIG, "me", data(a="1", b="1"))
    await api("PATCH", f"{CONFIG}?fieldManager=editor", {"data": {"a": "9"}}, type=MERGE)
    _, status = await apply(api, CONFIG, "me", data(a="1", b="1"))
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "editor": .data.a'


async def test_items_of_keyed_lists_have_owners_of_their_own(api: Any, make: Any) -> None:
    base = make.deployment()
    await apply(api, DEPLOYMENT, "me", base)
    containers = [{"name": "c", "env": [{"name": "X", "value": "1"}]}, {"name": "more", "image": "i:2"}]
    addition = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": containers}}},
    }
    _, both = await apply(api, DEPLOYMENT, "you", addition)
    assert [c["name"] for c in both["spec"]["template"]["spec"]["containers"]] == ["c", "more"]
    assert both["spec"]["template"]["spec"]["containers"][0]["image"] == "i:1"
    _, mine = await apply(api, DEPLOYMENT, "me", base)
    assert len(mine["spec"]["template"]["spec"]["containers"]) == 2
    _, removed = await apply(api, DEPLOYMENT, "you", {**addition, "spec": {}})
    containers = removed["spec"]["template"]["spec"]["containers"]
    assert [c["name"] for c in containers] == ["c"]
    assert "env" not in containers[0]


async def test_an_item_another_writes_to_keeps_its_key(api: Any, make: Any) -> None:
    base = make.deployment()
    base["spec"]["template"]["spec"]["containers"].append({"name": "more", "image": "i:2"})
    await apply(api, DEPLOYMENT, "me", base)
    patch = [{"op": "add", "path": "/spec/template/spec/containers/1/image", "value": "i:3"}]
    await api("PATCH", f"{DEPLOYMENT}?fieldManager=you", patch, type="application/json-patch+json")
    code, after = await apply(api, DEPLOYMENT, "me", make.deployment())
    containers = after["spec"]["template"]["spec"]["containers"]
    assert (code, [(c["name"], c["image"]) for c in containers]) == (200, [("c", "i:1"), ("more", "i:3")])


async def test_a_removed_field_gets_its_default_back(api: Any, make: Any) -> None:
    await apply(api, DEPLOYMENT, "me", make.deployment(replicas=5))
    assert (await apply(api, DEPLOYMENT, "me", make.deployment()))[1]["spec"]["replicas"] == 1


async def test_refused_whole(api: Any, make: Any) -> None:
    assert (await apply(api, DEPLOYMENT, "me", make.deployment(replicas="x")))[0] == 422
    assert (await api("GET", DEPLOYMENT))[0] == 404


async def test_status_has_an_owner_of_its_own(api: Any, make: Any) -> None:
    await apply(api, DEPLOYMENT, "me", make.deployment())
    _, after = await api(
        "PATCH", f"{DEPLOYMENT}/status?fieldManager=node", {"status": {"replicas": 1}}, type=MERGE
    )
    entries = {
        (e["manager"], e.get("subresource", "")): e["fieldsV1"] for e in after["metadata"]["managedFields"]
    }
    assert entries["node", "status"] == {"f:status": {"f:replicas": {}}}


def test_fields_v1_is_written_as_it_is_read() -> None:
    obj = {
        "metadata": {"name": "x", "labels": {"a": "b"}, "finalizers": ["f"]},
        "spec": {"ports": [{"port": 80}, {"port": 81, "protocol": "UDP"}], "args": ["1"], "none": {}},
    }
    lists = {"spec.ports": ("port", "protocol"), "metadata.finalizers": ()}
    tree = to_fields_v1(set(leaves(obj, lists)))
    assert tree == {
        "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {'v:"f"': {}}},
        "f:spec": {
            "f:args": {},
            "f:none": {},
            "f:ports": {
                'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}},
                'k:{"port":81,"protocol":"UDP"}': {".": {}, "f:port": {}, "f:protocol": {}},
            },
        },
    }
    assert from_fields_v1(tree) == set(leaves(obj, lists))
