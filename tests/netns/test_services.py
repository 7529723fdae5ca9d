"""ClusterIPs and cluster DNS as pods without a sidecar meet them."""

from __future__ import annotations

import subprocess

import pytest

from tests.netns.mesh import Mesh, deployment, service

pytestmark = pytest.mark.netns

FETCH = """
import json, sys, urllib.request, time
def ask(url):
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except OSError as error:
        return {"error": str(getattr(error, "reason", error)), "seconds": time.monotonic() - begun}
"""
RESOLVE = """
import json, socket
def resolve(name):
    try:
        return sorted({i[4][0] for i in socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)})
    except socket.gaierror as error:
        return [error.strerror]
"""


@pytest.fixture(scope="module")
def apps(mesh: Mesh) -> Mesh:
    headless = service("echo", 8080, clusterIP="None")
    headless["metadata"]["name"] = "echo-headless"
    mesh.apply(
        deployment("echo", ["python3", "-m", "demo_apps.echo", "8080"], replicas=2, ports=[{"containerPort": 8080, "name": "web"}]),
        service("echo", 8080),
        headless,
        service("nobody", 8080),
        deployment("client", ["sleep", "infinity"]),
    )  # fmt: skip
    mesh.ready("echo", 2)
    mesh.ready("client")
    script = FETCH + "print(json.dumps(ask('http://echo/')))"
    mesh.wait(lambda: "hostname" in mesh.python("plain/client", script), "echo to answer")
    return mesh


def test_a_clusterip_reaches_every_endpoint(apps: Mesh) -> None:
    names = {pod["metadata"]["name"] for pod in apps.pods("echo")}
    script = FETCH + "print(json.dumps([ask('http://echo.plain/')['hostname'] for _ in range(40)]))"
    assert set(apps.python("plain/client", script)) == names


def test_the_callers_address_is_kept(apps: Mesh) -> None:
    (client,) = apps.pods("client")
    answer = apps.python("plain/client", FETCH + "print(json.dumps(ask('http://echo/')))")
    assert answer["peer"].rpartition(":")[0] == client["status"]["podIP"]


def test_a_pod_reaches_itself_through_its_service(apps: Mesh) -> None:
    """Hairpin: among enough calls some are to itself, and all are answered."""
    pod = apps.pods("echo")[0]["metadata"]["name"]
    script = FETCH + "print(json.dumps([ask('http://echo/').get('hostname') for _ in range(30)]))"
    answers = apps.python(f"plain/{pod}", script)
    assert pod in answers
    assert None not in answers


@pytest.mark.parametrize("url", ["http://nobody/", "http://echo:81/", "http://10.96.200.200/"])
def test_where_nobody_listens_is_refused_at_once(apps: Mesh, url: str) -> None:
    answer = apps.python("plain/client", FETCH + f"print(json.dumps(ask({url!r})))")
    assert "refused" in answer["error"]
    assert answer["seconds"] < 1


def test_endpoints_that_are_not_ready_get_nothing(apps: Mesh) -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    apps.apply(
        deployment("gated", ["python3", "-m", "demo_apps.echo", "8080"], readinessProbe=probe),
        service("gated", 8080),
    )
    apps.wait(lambda: apps.events("Unhealthy", "gated"), "the probe to fail")
    fetch = FETCH + "print(json.dumps(ask('http://gated/')))"
    assert "refused" in apps.python("plain/client", fetch)["error"]
    apps.exec("plain/gated", "touch", "/tmp/ready")
    apps.ready("gated")
    apps.wait(lambda: "hostname" in apps.python("plain/client", fetch), "the ready pod to answer", 5)
    apps.exec("plain/gated", "rm", "/tmp/ready")
    apps.wait(lambda: "error" in apps.python("plain/client", fetch), "the pod to be left out", 10)


def test_names(apps: Mesh) -> None:
    address = apps.get("/api/v1/namespaces/plain/services/echo")["spec"]["clusterIP"]
    names = ["echo", "echo.plain", "echo.plain.svc", "echo.plain.svc.cluster.local", "echo-headless",
             "istiod.istio-system.svc", "echo.default", "no.such.name.example"]  # fmt: skip
    found = apps.python("plain/client", RESOLVE + f"print(json.dumps([resolve(name) for name in {names}]))")
    assert found[:4] == [[address]] * 4
    assert found[4] == sorted(pod["status"]["podIP"] for pod in apps.pods("echo"))
    assert found[5] == ["10.244.0.1"]
    assert all("." not in answer[0] for answer in found[6:])


def test_the_published_gateway_is_on_loopback_only(mesh: Mesh) -> None:
    listening = subprocess.run(["ss", "-Htln"], capture_output=True, text=True, check=True).stdout
    port = str(mesh.gateway_port)
    assert [line.split()[3] for line in listening.splitlines() if line.split()[3].endswith(f":{port}")] == [
        f"127.0.0.1:{port}"
    ]
