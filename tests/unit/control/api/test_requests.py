"""Reading and writing over HTTP: what a client sends, and what it gets."""

from __future__ import annotations

from typing import Any

import pytest

NS = "/api/v1/namespaces/default"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def test_what_is_there_from_the_start(api: Any) -> None:
    _, namespaces = await api("GET", "/api/v1/namespaces")
    assert [o["metadata"]["name"] for o in namespaces["items"]] == ["default", "istio-system", "kube-system"]
    assert (await api("GET", "/api/v1/namespaces/istio-system/serviceaccounts/default"))[0] == 200


@pytest.mark.parametrize("stream", ["exec", "attach", "portforward"])
async def test_a_stream_into_a_pod_names_the_way(api: Any, stream: str) -> None:
    code, status = await api("POST", f"{NS}/pods/p/{stream}")
    assert (code, status["reason"]) == (501, "NotImplemented")
    assert status["message"].startswith(f"{stream} is not served here: use `glassmesh exec ")


async def test_create_get_update_delete(api: Any, make: Any) -> None:
    code, made = await api("POST", f"{NS}/configmaps", make.config_map(data={"a": "1"}))
    assert code == 201
    assert made["metadata"]["namespace"] == "default"
    made["data"] = {"a": "2"}
    code, changed = await api("PUT", f"{NS}/configmaps/c", made)
    assert (code, changed["data"]) == (200, {"a": "2"})
    code, status = await api("PUT", f"{NS}/configmaps/c", made)
    assert (code, status["reason"]) == (409, "Conflict")
    code, gone = await api("DELETE", f"{NS}/configmaps/c")
    assert (code, gone["status"], gone["details"]["uid"]) == (200, "Success", made["metadata"]["uid"])
    code, status = await api("GET", f"{NS}/configmaps/c")
    assert (code, status["message"]) == (404, 'configmaps "c" not found')


@pytest.mark.parametrize(
    ("method", "path", "code", "reason", "message"),
    [
        ("GET", "/api/v1/nonsense", 404, "NotFound", "the server could not find the requested resource"),
        ("GET", "/apis/apps/v9/deployments", 404, "NotFound", "the server could not find the requested resource"),
        ("GET", f"{DEPLOYMENTS}/x", 404, "NotFound", 'deployments.apps "x" not found'),
        ("GET", f"{NS}/configmaps?labelSelector=%21%21", 400, "BadRequest", "unable to parse requirement: !!"),
        ("GET", f"{NS}/configmaps?limit=x", 400, "BadRequest", 'limit: Invalid value: "x"'),
        ("POST", f"{NS}/pods/x", 405, "MethodNotAllowed", "the server does not allow this method on the requested resource"),
        ("GET", f"{NS}/configmaps/c/status", 404, "NotFound", "the server could not find the requested resource"),
        ("DELETE", "/api/v1/namespaces/default", 403, "Forbidden", 'namespaces "default" is forbidden: this namespace may not be deleted'),
    ],
)  # fmt: skip
async def test_refusals_are_status_objects(
    api: Any, method: str, path: str, code: int, reason: str, message: str
) -> None:
    got, status = await api(method, path)
    assert (got, status["kind"], status["reason"], status["message"]) == (code, "Status", reason, message)
    assert status["code"] == code


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "c"}},
            "does not match the expected API version",
        ),
        (
            {"metadata": {"name": "c", "namespace": "other"}},
            "does not match the namespace sent on the request",
        ),
        (["list"], "not an object"),
        (b"{", "unrecognized"),
    ],
)
async def test_bodies_that_do_not_fit_the_path(api: Any, body: Any, message: str) -> None:
    code, status = await api("POST", f"{NS}/configmaps", body)
    assert code == 400
    assert message in status["message"]


async def test_unknown_namespace_and_media_type(api: Any, make: Any) -> None:
    code, status = await api("POST", "/api/v1/namespaces/nowhere/configmaps", make.config_map())
    assert (code, status["message"]) == (404, 'namespaces "nowhere" not found')
    assert (await api("POST", f"{NS}/configmaps", b"x", type="text/plain"))[0] == 415


async def test_every_error_at_once_and_nothing_changed(api: Any, make: Any) -> None:
    bad = make.deployment("web", replicas=-1, foo=1)
    bad["metadata"]["labels"] = {"a b": "c"}
    bad["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 0}, {"protocol": "Tcp"}]
    code, status = await api("POST", DEPLOYMENTS, bad)
    assert (code, status["reason"]) == (422, "Invalid")
    container = "spec.template.spec.containers[0]"
    assert {cause["field"] for cause in status["details"]["causes"]} == {
        "metadata.labels", "spec.replicas", "spec.foo", f"{container}.ports[0].containerPort",
        f"{container}.ports[1].containerPort", f"{container}.ports[1].protocol",
    }  # fmt: skip
    assert (await api("GET", DEPLOYMENTS))[1]["items"] == []


@pytest.mark.parametrize(("mode", "code"), [("Strict", 400), ("", 400), ("Warn", 201), ("Ignore", 201)])
async def test_field_validation(api: Any, make: Any, mode: str, code: int) -> None:
    got, answer = await api("POST", f"{DEPLOYMENTS}?fieldValidation={mode}", make.deployment(foo=1))
    assert got == code
    if code == 400:
        assert answer["message"].endswith('strict decoding error: unknown field "spec.foo"')
    else:
        assert "foo" not in answer["spec"]
    assert bool(api.warnings) == (mode == "Warn")


async def test_fields_without_effect_are_warnings(api: Any, make: Any) -> None:
    body = make.deployment()
    body["spec"]["template"]["spec"]["affinity"] = {"nodeAffinity": {}}
    code, _ = await api("POST", DEPLOYMENTS, body)
    assert code == 201
    assert api.warnings == ['299 - "no effect in Glassmesh: spec.template.spec.affinity"']


async def test_dry_run_stores_nothing(api: Any, make: Any) -> None:
    code, answer = await api("POST", f"{DEPLOYMENTS}?dryRun=All", make.deployment())
    assert (code, answer["spec"]["replicas"]) == (201, 1)
    assert (await api("GET", f"{DEPLOYMENTS}/web"))[0] == 404
    await api("POST", DEPLOYMENTS, make.deployment())
    assert (await api("POST", f"{DEPLOYMENTS}?dryRun=All", make.deployment()))[0] == 409
    code, answer = await api("PATCH", f"{DEPLOYMENTS}/web?dryRun=All", {"spec": {"replicas": 7}}, type=MERGE)
    assert answer["spec"]["replicas"] == 7
    assert (await api("DELETE", f"{DEPLOYMENTS}/web?dryRun=All"))[0] == 200
    assert (await api("GET", f"{DEPLOYMENTS}/web"))[1]["spec"]["replicas"] == 1


async def test_generate_name(api: Any) -> None:
    names = {
        (await api("POST", f"{NS}/configmaps", {"metadata": {"generateName": "x-"}}))[1]["metadata"]["name"]
        for _ in range(5)
    }
    assert len(names) == 5
    assert all(name.startswith("x-") for name in names)


@pytest.mark.parametrize(
    ("type_", "patch"),
    [
        (MERGE, {"spec": {"replicas": 3}}),
        (STRATEGIC, {"spec": {"replicas": 3}}),
        (JSON_PATCH, [{"op": "test", "path": "/spec/replicas", "value": 1}, {"op": "replace", "path": "/spec/replicas", "value": 3}]),
    ],
)  # fmt: skip
async def test_patches(api: Any, make: Any, type_: str, patch: Any) -> None:
    await api("POST", DEPLOYMENTS, make.deployment())
    code, changed = await api("PATCH", f"{DEPLOYMENTS}/web", patch, type=type_)
    assert (code, changed["spec"]["replicas"], changed["metadata"]["generation"]) == (200, 3, 2)


async def test_patches_that_fail(api: Any, make: Any) -> None:
    await api("POST", DEPLOYMENTS, make.deployment())
    failing = [{"op": "test", "path": "/spec/replicas", "value": 9}]
    assert (await api("PATCH", f"{DEPLOYMENTS}/web", failing, type=JSON_PATCH))[0] == 422
    assert (await api("PATCH", f"{DEPLOYMENTS}/no", {}, type=MERGE))[0] == 404
    stale = {"metadata": {"resourceVersion": "1"}}
    assert (await api("PATCH", f"{DEPLOYMENTS}/web", stale, type=MERGE))[0] == 409
    selector = {
        "spec": {"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}}
    }
    code, status = await api("PATCH", f"{DEPLOYMENTS}/web", selector, type=MERGE)
    assert (code, status["details"]["causes"][0]["field"]) == (422, "spec.selector")
    assert "field is immutable" in status["message"]


async def test_status_is_written_only_through_its_subresource(api: Any, make: Any) -> None:
    await api("POST", DEPLOYMENTS, {**make.deployment(), "status": {"replicas": 9}})
    assert (await api("GET", f"{DEPLOYMENTS}/web"))[1]["status"] == {}
    await api("PATCH", f"{DEPLOYMENTS}/web", {"status": {"replicas": 8}}, type=MERGE)
    assert (await api("GET", f"{DEPLOYMENTS}/web"))[1]["status"] == {}
    change = {
        "status": {"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]},
        "spec": {"replicas": 5},
    }
    code, changed = await api("PATCH", f"{DEPLOYMENTS}/web/status", change, type=MERGE)
    assert (code, changed["status"]["replicas"], changed["spec"]["replicas"]) == (200, 1, 1)
    assert changed["metadata"]["generation"] == 1


async def test_scale(api: Any, make: Any) -> None:
    await api("POST", DEPLOYMENTS, make.deployment())
    _, scale = await api("GET", f"{DEPLOYMENTS}/web/scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == (
        "Scale",
        {"replicas": 1},
        "app=web",
    )
    scale["spec"]["replicas"] = 4
    assert (await api("PUT", f"{DEPLOYMENTS}/web/scale", scale))[1]["spec"] == {"replicas": 4}
    assert (await api("PUT", f"{DEPLOYMENTS}/web/scale", scale))[0] == 409
    await api("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 2}}, type=MERGE)
    assert (await api("GET", f"{DEPLOYMENTS}/web"))[1]["spec"]["replicas"] == 2
    assert (await api("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -2}}, type=MERGE))[0] == 422


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("labelSelector=app%3Da", ["a"]),
        ("labelSelector=app+in+(a,b)", ["a", "b"]),
        ("labelSelector=app+notin+(a)", ["b", "c"]),
        ("labelSelector=app!%3Da,app", ["b"]),
        ("labelSelector=!app", ["c"]),
        ("fieldSelector=metadata.name%3Db", ["b"]),
        ("fieldSelector=metadata.name!%3Db,metadata.namespace%3Ddefault", ["a", "c"]),
        ("", ["a", "b", "c"]),
    ],
)
async def test_selectors(api: Any, make: Any, query: str, names: list[str]) -> None:
    for name in "abc":
        body = make.config_map(name)
        body["metadata"]["labels"] = {"app": name} if name != "c" else {}
        await api("POST", f"{NS}/configmaps", body)
    _, listed = await api("GET", f"{NS}/configmaps?{query}")
    assert [o["metadata"]["name"] for o in listed["items"]] == names


async def test_pages(api: Any, make: Any) -> None:
    for number in range(5):
        await api("POST", f"{NS}/configmaps", make.config_map(f"c{number}"))
    seen, query, versions = [], "limit=2", set()
    while True:
        _, page = await api("GET", f"{NS}/configmaps?{query}")
        seen += [o["metadata"]["name"] for o in page["items"]]
        versions.add(page["metadata"]["resourceVersion"])
        if "continue" not in page["metadata"]:
            break
        query = f"limit=2&continue={page['metadata']['continue']}"
    assert seen == [f"c{n}" for n in range(5)]
    assert len(versions) == 1
    assert (await api("GET", f"{NS}/configmaps?continue=nonsense"))[0] == 400


async def test_tables(api: Any, make: Any) -> None:
    await api("POST", DEPLOYMENTS, make.deployment())
    _, table = await api("GET", DEPLOYMENTS, Accept=TABLE)
    names = [column["name"] for column in table["columnDefinitions"] if not column["priority"]]
    assert (table["kind"], names) == ("Table", ["Name", "Ready", "Up-to-date", "Available", "Age"])
    assert table["rows"][0]["cells"][:4] == ["web", "0/1", 0, 0]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    _, table = await api("GET", f"{DEPLOYMENTS}/web?includeObject=Object", Accept=TABLE)
    assert table["rows"][0]["object"]["spec"]["replicas"] == 1
    _, partial = await api(
        "GET", DEPLOYMENTS, Accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    )
    assert partial["kind"] == "PartialObjectMetadataList"
    assert "spec" not in partial["items"][0]


async def test_versions_of_one_kind(api: Any) -> None:
    rule = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "DestinationRule",
        "metadata": {"name": "r"},
        "spec": {"host": "reviews"},
    }
    path = "/apis/networking.istio.io/{}/namespaces/default/destinationrules"
    assert (await api("POST", path.format("v1beta1"), rule))[0] == 201
    assert (await api("GET", path.format("v1") + "/r"))[1]["apiVersion"] == "networking.istio.io/v1"
    assert (await api("GET", path.format("v1beta1")))[1]["apiVersion"] == "networking.istio.io/v1beta1"


async def test_delete_collection(api: Any, make: Any) -> None:
    for name in "abc":
        await api("POST", f"{NS}/configmaps", make.config_map(name))
    code, deleted = await api("DELETE", f"{NS}/configmaps?fieldSelector=metadata.name!%3Db")
    assert (code, len(deleted["items"])) == (200, 2)
    assert [o["metadata"]["name"] for o in (await api("GET", f"{NS}/configmaps"))[1]["items"]] == ["b"]


async def test_delete_preconditions(api: Any, make: Any) -> None:
    await api("POST", f"{NS}/configmaps", make.config_map())
    for wrong in ({"uid": "x"}, {"resourceVersion": "1"}):
        assert (await api("DELETE", f"{NS}/configmaps/c", {"preconditions": wrong}))[0] == 409
    assert (await api("GET", f"{NS}/configmaps/c"))[0] == 200
