"""The control plane as a whole: a process of its own, asked over its ports as kubectl and proxies would."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from control.compile.protobuf import CLUSTER, ROUTE

ROOT = Path(__file__).parents[3]
MOST_RESIDENT = 110 * 1024  # KiB
MOST_PER_CONNECTION = 150  # KiB
NODE = {
    "id": "sidecar~10.1.1.1~web-1.default~default.svc.cluster.local",
    "user_agent_name": "glassmesh",
    "metadata": {"NAMESPACE": "default", "SERVICE_ACCOUNT": "web", "LABELS": {"app": "web"}},
}
Json = dict[str, Any]


def _object(kind: str, name: str, spec: Json, group: str = "networking.istio.io/v1") -> Json:
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": group, "kind": kind, "metadata": meta, "spec": spec}


SERVICE = _object(
    "Service", "web", {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80}]}, "v1"
)
RULE = _object("VirtualService", "web", {"hosts": ["web"], "http": [{"directResponse": {"status": 418}}]})


class Running:
    """A control plane on free ports, in `state`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        options = ["--xds-port", "--secure-port", "--monitoring-port", "--webhook-port"]
        zeros = [word for option in options for word in (option, "0")]
        (state / "control").mkdir(parents=True, exist_ok=True)
        (state / "control/ports.json").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "control", "--state", state, "--xds-address", "127.0.0.1", *zeros],
            cwd=ROOT,
            stderr=subprocess.PIPE,
        )
        self.ports: dict[str, int] = {}
        self.session: aiohttp.ClientSession | None = None
        self.token = ""

    def resident(self) -> int:
        """Its memory now, KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    async def ready(self) -> Running:
        ports = self.state / "control/ports.json"
        while not ports.exists() or not ports.read_text():
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read().decode()
            await asyncio.sleep(0.01)
        self.ports = json.loads(ports.read_text())
        config = yaml.safe_load((self.state / "kubeconfig").read_text())
        root = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self.token = config["users"][0]["user"]["token"]
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=root), force_close=True)
        self.session = aiohttp.ClientSession(connector=connector)
        return self

    async def call(
        self, method: str, path: str, body: Any = None, port: str = "api", token: str | None = None
    ) -> tuple[int, Any]:
        scheme = "https" if port in ("api", "tls", "webhook") else "http"
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        assert self.session is not None
        url = f"{scheme}://127.0.0.1:{self.ports[port]}{path}"
        async with self.session.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith(("{", "[")) else text

    async def create(self, obj: Json) -> None:
        group, plural = obj["apiVersion"], f"{obj['kind'].lower()}s"
        base = f"/apis/{group}" if "/" in group else f"/api/{group}"
        status, answer = await self.call("POST", f"{base}/namespaces/default/{plural}", obj)
        assert status == 201, answer

    async def poll(self, version: str = "", **node: Any) -> Json:
        body = {"node": {**NODE, **node}, "version_info": version}
        status, answer = await self.call("POST", "/v3/discovery:aggregated", body, "plaintext")
        assert status == 200, answer
        found: Json = answer
        return found

    async def stop(self, number: int = signal.SIGTERM) -> int:
        if self.session is not None:
            await self.session.close()
            self.session = None
        self.process.send_signal(number)
        status = await asyncio.to_thread(self.process.wait, 10)
        if self.process.stderr is not None:
            self.process.stderr.close()
        return status


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[Running]:
    running = Running(tmp_path / "state")
    try:
        yield await running.ready()
    finally:
        if running.process.returncode is None:
            await running.stop()


async def test_a_change_reaches_a_waiting_proxy(plane: Running) -> None:
    await plane.create(SERVICE)
    first = await plane.poll()
    while not any(one["name"].startswith("outbound|") for one in first["resources"].get(CLUSTER, ())):
        first = await plane.poll()
    # The proxy has become a Pod, and so an endpoint of its service.
    _, pods = await plane.call("GET", "/api/v1/namespaces/default/pods")
    assert [pod["metadata"]["name"] for pod in pods["items"]] == ["web-1"]
    while True:
        held = asyncio.create_task(plane.poll(first["version_info"]))
        done, _ = await asyncio.wait({held}, timeout=0.2)
        if not done:
            break
        first = held.result()
    await plane.create(RULE)
    changed = await held  # at the end of the hold it would say nothing
    assert changed["full"] is False
    assert "418" in json.dumps(changed["resources"][ROUTE])
    assert CLUSTER not in changed["resources"]
    _, status = await plane.call("GET", "/debug/syncz")
    assert [(one["proxy"], one["route_status"]) for one in status] == [("web-1.default", "STALE")]


async def test_a_bad_object_changes_nothing(plane: Running) -> None:
    bad = _object("VirtualService", "bad", {"hosts": ["*"], "http": [{}]})
    status, answer = await plane.call(
        "POST", "/apis/networking.istio.io/v1/namespaces/default/virtualservices", bad
    )
    assert status == 422
    assert [cause["field"] for cause in answer["details"]["causes"]] == ["spec.hosts[0]", "spec.http[0]"]
    _, found = await plane.call("GET", "/apis/networking.istio.io/v1/virtualservices")
    assert found["items"] == []


async def test_who_may_ask_over_tls(plane: Running) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web"}}
    await plane.create(account)
    review = {"spec": {"audiences": ["istio-ca"], "expirationSeconds": 3600}}
    path = "/api/v1/namespaces/default/serviceaccounts/web/token"
    _, answer = await plane.call("POST", path, review)
    token = answer["status"]["token"]

    async def ask(token: str, **metadata: str) -> int:
        node = {**NODE, "metadata": {**NODE["metadata"], **metadata}}  # type: ignore[dict-item]
        status, _ = await plane.call("POST", "/v3/discovery:clusters", {"node": node}, "tls", token)
        return status

    assert await ask(token) == 200
    assert await ask("") == 401
    assert await ask("x.y.z") == 401
    assert await ask(token, SERVICE_ACCOUNT="admin") == 403
    assert await ask(token, NAMESPACE="other") == 403


async def test_pods_are_injected_and_find_the_root_certificate(plane: Running) -> None:
    label = {"metadata": {"labels": {"istio-injection": "enabled"}}}
    headers = {"Content-Type": "application/merge-patch+json", "Authorization": f"Bearer {plane.token}"}
    assert plane.session is not None
    url = f"https://127.0.0.1:{plane.ports['api']}/api/v1/namespaces/default"
    async with plane.session.patch(url, json=label, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    pod = _object("Pod", "p", {"containers": [{"name": "app", "image": "x"}]}, "v1")
    await plane.create(pod)
    _, found = await plane.call("GET", "/api/v1/namespaces/default/pods/p")
    assert [container["name"] for container in found["spec"]["containers"]] == ["app", "istio-proxy"]
    path = "/api/v1/namespaces/default/configmaps/istio-ca-root-cert"
    while (answer_ := await plane.call("GET", path))[0] == 404:
        await asyncio.sleep(0.01)
    assert "BEGIN CERTIFICATE" in answer_[1]["data"]["root-cert.pem"]


async def test_killed_it_loses_nothing_and_agrees_with_its_proxies(plane: Running, tmp_path: Path) -> None:
    await plane.create(SERVICE)
    await plane.create(RULE)
    await plane.poll()
    await asyncio.sleep(0.1)
    before = await plane.poll()
    token = plane.token
    await plane.stop(signal.SIGKILL)
    again = await Running(tmp_path / "state").ready()
    try:
        assert again.token == token
        _, found = await again.call("GET", "/apis/networking.istio.io/v1/virtualservices")
        assert [one["metadata"]["name"] for one in found["items"]] == ["web"]
        assert (await again.poll())["version_info"] == before["version_info"]
    finally:
        assert await again.stop() == 0


async def test_debug_pages_metrics_and_memory(plane: Running) -> None:
    await plane.create(SERVICE)
    await plane.poll()
    for page in ("syncz", "registryz", "endpointz", "configz", "connections"):
        assert (await plane.call("GET", f"/debug/{page}", port="monitoring"))[0] == 200
        assert (await plane.call("GET", f"/debug/{page}"))[0] == 200
        assert (await plane.call("GET", f"/debug/{page}", token="x"))[0] == 401
    status, dump = await plane.call("GET", "/debug/config_dump?proxyID=web-1.default", port="monitoring")
    assert (status, len(dump["configs"])) == (200, 4)
    assert (await plane.call("GET", "/debug/config_dump?proxyID=x", port="monitoring"))[0] == 404
    assert (await plane.call("GET", "/ready", port="monitoring"))[0] == 200
    assert (await plane.call("GET", "/version", port="monitoring"))[0] == 200
    _, metrics = await plane.call("GET", "/metrics", port="monitoring")
    assert 'pilot_xds_pushes{type="ads"} ' in metrics
    assert 'pilot_xds{version="' in metrics
    assert plane.resident() < MOST_RESIDENT


async def test_a_connection_costs_little(plane: Running) -> None:
    """An Envoy holds a poll per cluster and type, each on a connection of its own."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    before = plane.resident()
    opened = [await asyncio.open_connection("127.0.0.1", plane.ports["tls"], ssl=tls) for _ in range(50)]
    assert (plane.resident() - before) / len(opened) < MOST_PER_CONNECTION
    for _, writer in opened:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for _, writer in opened))


async def test_a_refused_push_is_told(plane: Running) -> None:
    first = await plane.poll()
    body = {
        "node": NODE,
        "version_info": "",
        "response_nonce": first["nonce"],
        "error_detail": {"code": 3, "message": "clusters[x]: no"},
    }
    asking = asyncio.create_task(plane.call("POST", "/v3/discovery:aggregated", body, "plaintext"))
    while True:
        _, status = await plane.call("GET", "/debug/syncz")
        if status and status[0].get("cluster_error"):
            break
        await asyncio.sleep(0.01)
    assert (status[0]["cluster_status"], status[0]["cluster_error"]) == ("ERROR", "clusters[x]: no")
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    _, metrics = await plane.call("GET", "/metrics", port="monitoring")
    assert 'pilot_total_xds_rejects{type="ads"} ' in metrics


def test_a_bad_mesh_config_ends_the_start_with_its_reasons(tmp_path: Path) -> None:
    config = tmp_path / "mesh.yaml"
    config.write_text("trustDomain: 3\nunknown: true\n")
    done = subprocess.run(
        [sys.executable, "-m", "control", "--state", tmp_path, "--mesh-config", config],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ},
    )
    assert done.returncode == 1
    assert "trustDomain" in done.stderr
    assert "unknown" in done.stderr
