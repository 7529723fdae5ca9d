"""Which pods get a sidecar, and what they get."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from control.inject.annotations import InjectionError
from control.inject.decision import decide
from control.inject.injector import inject
from control.inject.webhook import InjectionWebhook
from control.mesh_config import MeshConfig
from control.resources import pod

Json = dict[str, Any]
ENABLED = {"istio-injection": "enabled"}


@pytest.mark.parametrize(
    ("namespace", "labels", "pod_labels", "expected"),
    [
        ("a", ENABLED, {}, True),
        ("a", ENABLED, {"sidecar.istio.io/inject": "true"}, True),
        ("a", ENABLED, {"sidecar.istio.io/inject": "false"}, False),
        ("a", {"istio-injection": "disabled"}, {"sidecar.istio.io/inject": "true"}, False),
        ("a", {}, {"sidecar.istio.io/inject": "true"}, True),
        ("a", {}, {}, False),
        ("a", {}, {"sidecar.istio.io/inject": "false"}, False),
        ("a", {"istio.io/rev": "x"}, {}, True),
        ("a", {"istio.io/rev": "x"}, {"sidecar.istio.io/inject": "false"}, False),
        ("a", {"istio.io/rev": "x", "istio-injection": "disabled"}, {}, False),
        ("a", {}, {"istio.io/rev": "x"}, True),
        ("a", {}, {"istio.io/rev": "x", "sidecar.istio.io/inject": "false"}, False),
        ("kube-system", ENABLED, {}, False),
    ],
)
def test_who_is_injected(namespace: str, labels: Json, pod_labels: Json, expected: bool) -> None:
    assert decide(namespace, labels, {"labels": pod_labels}, {}).inject is expected


def test_host_network_and_annotations_decide_too() -> None:
    assert not decide("a", ENABLED, {}, {"hostNetwork": True}).inject
    assert not decide("a", ENABLED, {"annotations": {"sidecar.istio.io/inject": "false"}}, {}).inject


def _pod(annotations: Json | None = None, **container: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web-1",
            "namespace": "default",
            "labels": {"app": "web", "version": "v1"},
            "annotations": annotations or {},
        },
        "spec": {
            "serviceAccountName": "web",
            "containers": [
                {
                    "name": "app",
                    "image": "x",
                    "ports": [{"containerPort": 9080, "name": "http"}],
                    **container,
                }
            ],
        },
    }


def _inject(given: Json) -> Json:
    return inject(given, "default", ENABLED, MeshConfig())


def _container(injected: Json, name: str) -> Json:
    spec = injected["spec"]
    return next(c for c in [*spec.get("initContainers", []), *spec["containers"]] if c["name"] == name)


def _env(injected: Json) -> dict[str, str]:
    return {e["name"]: e["value"] for e in _container(injected, "istio-proxy")["env"] if "value" in e}


def test_what_is_added() -> None:
    given = _pod()
    before = copy.deepcopy(given)
    injected = _inject(given)
    assert given == before
    assert not pod.KIND.validate(pod.KIND.default(injected)).errors
    assert [c["name"] for c in injected["spec"]["containers"]] == ["app", "istio-proxy"]
    init = _container(injected, "istio-init")
    assert " ".join(init["args"]) == (
        "istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x  -b * -d 15090,15021,15020 "
        "--log_output_level=default:info"
    )
    proxy = _container(injected, "istio-proxy")
    assert proxy["args"] == ["proxy", "sidecar"]
    assert (proxy["securityContext"]["runAsUser"], proxy["securityContext"]["runAsGroup"]) == (1337, 1337)
    assert proxy["startupProbe"]["httpGet"]["port"] == 15021
    mounts = {mount["name"]: mount["mountPath"] for mount in proxy["volumeMounts"]}
    assert mounts["istio-token"] == "/var/run/secrets/tokens"
    assert mounts["istiod-ca-cert"] == "/var/run/secrets/istio"
    labels = injected["metadata"]["labels"]
    assert labels["security.istio.io/tlsMode"] == "istio"
    assert labels["service.istio.io/canonical-name"] == "web"
    assert labels["service.istio.io/canonical-revision"] == "v1"
    annotations = injected["metadata"]["annotations"]
    assert json.loads(annotations["sidecar.istio.io/status"])["containers"] == ["istio-proxy"]
    assert annotations["prometheus.io/port"] == "15020"
    assert annotations["kubectl.kubernetes.io/default-container"] == "app"
    env = _env(injected)
    assert json.loads(env["PROXY_CONFIG"])["discoveryAddress"] == "istiod.istio-system.svc:15012"
    assert json.loads(env["ISTIO_METAJSON_LABELS"]) == labels
    assert env["ISTIO_META_OWNER"] == "kubernetes://apis/apps/v1/namespaces/default/deployments/web-1"


def test_injecting_twice_changes_nothing() -> None:
    injected = _inject(_pod())
    assert _inject(injected) is injected


def test_who_is_not_injected_stays_the_same_object() -> None:
    given = _pod()
    assert inject(given, "default", {}, MeshConfig()) is given


@pytest.mark.parametrize(
    ("annotations", "role"),
    [
        ({}, "sidecar"),
        ({"glassmesh.io/proxy": "envoy"}, "agent"),
        ({"inject.istio.io/templates": "gateway"}, "router"),
    ],
)
def test_roles(annotations: Json, role: str) -> None:
    assert _container(_inject(_pod(annotations)), "istio-proxy")["args"] == ["proxy", role]


def test_a_gateway_captures_nothing() -> None:
    given = _pod({"inject.istio.io/templates": "gateway"})
    given["spec"]["containers"] = [
        {"name": "istio-proxy", "image": "auto", "env": [{"name": "X", "value": "1"}], "resources": {}}
    ]
    injected = _inject(given)
    assert "initContainers" not in injected["spec"]
    assert "security.istio.io/tlsMode" not in injected["metadata"]["labels"]
    (proxy,) = injected["spec"]["containers"]
    assert proxy["image"] == "glassmesh/proxy"
    assert _env(injected)["X"] == "1"
    assert proxy["resources"]


def test_traffic_annotations() -> None:
    prefix = "traffic.sidecar.istio.io/"
    injected = _inject(
        _pod(
            {
                prefix + "includeInboundPorts": "80,81",
                prefix + "excludeInboundPorts": "82",
                prefix + "excludeOutboundPorts": "5432",
                prefix + "includeOutboundIPRanges": "10.0.0.0/8",
                prefix + "excludeOutboundIPRanges": "10.1.0.0/16",
            }
        )
    )
    args = " ".join(_container(injected, "istio-init")["args"])
    assert "-i 10.0.0.0/8 -x 10.1.0.0/16 -b 80,81 -d 15090,15021,15020,82 -o 5432" in args


def test_malformed_annotations_refuse_the_pod_all_at_once() -> None:
    annotations = {
        "traffic.sidecar.istio.io/includeInboundPorts": "x",
        "traffic.sidecar.istio.io/includeOutboundIPRanges": "1.2.3",
        "glassmesh.io/proxy": "nginx",
        "proxy.istio.io/config": "[",
    }
    with pytest.raises(InjectionError) as caught:
        _inject(_pod(annotations))
    assert all(name in str(caught.value) for name in annotations)


def test_probes_move_to_the_agent() -> None:
    probe = {"httpGet": {"path": "/h", "port": "http"}, "timeoutSeconds": 2, "periodSeconds": 5}
    injected = _inject(
        _pod(
            livenessProbe=probe,
            readinessProbe={"tcpSocket": {"port": 9080}},
            startupProbe={"exec": {"command": ["x"]}},
            lifecycle={"preStop": {"httpGet": {"path": "/stop", "port": 9080}}},
        )
    )
    app = _container(injected, "app")
    assert app["livenessProbe"] == {
        "timeoutSeconds": 2,
        "periodSeconds": 5,
        "httpGet": {"path": "/app-health/app/livez", "port": 15020, "scheme": "HTTP"},
    }
    assert app["startupProbe"] == {"exec": {"command": ["x"]}}
    assert app["lifecycle"]["preStop"]["httpGet"]["path"] == "/app-lifecycle/app/prestopz"
    assert json.loads(_env(injected)["ISTIO_KUBE_APP_PROBERS"]) == {
        "/app-health/app/livez": {"httpGet": {"path": "/h", "port": 9080}, "timeoutSeconds": 2},
        "/app-health/app/readyz": {"tcpSocket": {"port": 9080}},
        "/app-lifecycle/app/prestopz": {"httpGet": {"path": "/stop", "port": 9080}},
    }
    untouched = _inject(_pod({"sidecar.istio.io/rewriteAppHTTPProbers": "false"}, livenessProbe=probe))
    assert _container(untouched, "app")["livenessProbe"] == probe


def test_the_pods_own_proxy_config() -> None:
    own = {"proxy.istio.io/config": "holdApplicationUntilProxyStarts: true\nconcurrency: 2"}
    injected = _inject(_pod(own))
    assert injected["spec"]["containers"][0]["name"] == "istio-proxy"
    assert json.loads(_env(injected)["PROXY_CONFIG"])["concurrency"] == 2


@pytest.mark.parametrize("workers", ["-1", "two", "true"])
def test_a_number_of_workers_that_is_none(workers: str) -> None:
    with pytest.raises(InjectionError, match=r"concurrency: .* is not a number of workers"):
        _inject(_pod({"proxy.istio.io/config": f"concurrency: {workers}"}))


@pytest.fixture
async def webhook() -> Any:
    app = web.Application()
    app.add_routes(InjectionWebhook(MeshConfig(), lambda _namespace: ENABLED).routes())
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        yield session
    await runner.cleanup()


async def test_the_webhook(webhook: aiohttp.ClientSession) -> None:
    review = {"request": {"uid": "u", "namespace": "default", "object": _pod()}}
    async with webhook.post("/inject", json=review) as answer:
        response = (await answer.json())["response"]
    assert (response["uid"], response["allowed"]) == ("u", True)
    paths = [step["path"] for step in json.loads(base64.b64decode(response["patch"]))]
    assert paths == ["/metadata", "/spec"]
    bad = {"request": {"namespace": "default", "object": _pod({"glassmesh.io/proxy": "x"})}}
    async with webhook.post("/inject", json=bad) as answer:
        response = (await answer.json())["response"]
    assert not response["allowed"]
    assert "glassmesh.io/proxy" in response["status"]["message"]
    async with webhook.post("/inject") as answer:
        assert (answer.status, await answer.text()) == (400, "no body found")
    async with webhook.post("/inject", data=b"x", headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 415
