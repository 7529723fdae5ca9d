"""What the compose node writes, and from what."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli import compose
from node.api_client import ApiAway, ApiError, Object, Resource

KUBECONFIG = yaml.safe_dump(
    {"clusters": [{"name": "glassmesh", "cluster": {"server": "https://127.0.0.1:1"}}]}
)
MANIFEST = """
kind: Service
metadata: {name: a}
---
kind: Deployment
metadata: {name: a-v1}
---
kind: ServiceAccount
metadata: {name: a, namespace: shop}
"""


class FakeApi:
    """Answers what the compose node asks; `failures` are raised first, one each."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.created: list[tuple[str, str | None, str]] = []
        self.asked: list[tuple[str, str, Any]] = []

    async def create(self, resource: Resource, namespace: str | None, obj: Object) -> Object:
        if self.failures:
            raise self.failures.pop(0)
        self.created.append((resource.plural, namespace, obj["metadata"]["name"]))
        return obj

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        if self.failures:
            raise self.failures.pop(0)
        return {"data": {"root-cert.pem": f"{resource.plural} {namespace} {name}"}}

    async def request(self, method: str, path: str, body: Any) -> Object:
        self.asked.append((method, path, body))
        return {"status": {"token": f"token {len(self.asked)}"}}


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    # Only root may give files away; who gets them is another matter than what is in them.
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    monkeypatch.setattr(os, "chown", lambda *_: None)
    monkeypatch.setattr(compose, "RETRY_SECONDS", 0)
    (tmp_path / "control").write_text(KUBECONFIG)
    (tmp_path / "manifest.yaml").write_text(MANIFEST)
    (tmp_path / "tokens").mkdir()
    (tmp_path / "host").mkdir()
    return compose.parser().parse_args(
        [
            f"--kubeconfig={tmp_path / 'control'}", "--host-server=https://127.0.0.1:2",
            f"--host-kubeconfig={tmp_path / 'host' / 'kubeconfig'}", f"--host-owner={tmp_path}", f"--root-cert={tmp_path}",
            f"--ready={tmp_path / 'run-ready'}", f"--token=shop/a={tmp_path / 'tokens'}", str(tmp_path / "manifest.yaml"),
        ]
    )  # fmt: skip


async def test_services_and_accounts_are_created_and_deployments_are_not(options: argparse.Namespace) -> None:
    api = FakeApi(ApiAway("not yet"), ApiError(409, "exists"))
    await compose.ComposeNode(options).set_up(api)  # type: ignore[arg-type]
    assert api.created == [("serviceaccounts", "shop", "a")]
    assert (options.root_cert / "root-cert.pem").read_text() == "configmaps default istio-ca-root-cert"


async def test_a_refusal_is_not_retried(options: argparse.Namespace) -> None:
    with pytest.raises(ApiError, match="invalid"):
        await compose.ComposeNode(options).set_up(FakeApi(ApiError(422, "invalid")))  # type: ignore[arg-type]


async def test_tokens_are_renewed_at_half_of_their_life(options: argparse.Namespace, tmp_path: Path) -> None:
    api, node = FakeApi(), compose.ComposeNode(options)
    token = tmp_path / "tokens" / "istio-token"
    for now, content in ((0, "token 1"), (21599, "token 1"), (21600, "token 2")):
        await node.refresh(api, now)  # type: ignore[arg-type]
        assert token.read_text() == content
    method, path, body = api.asked[0]
    assert (method, path) == ("POST", "/api/v1/namespaces/shop/serviceaccounts/a/token")
    assert body["spec"] == {"audiences": ["istio-ca"], "expirationSeconds": 43200}
    assert token.stat().st_mode & 0o777 == 0o440


def test_the_hosts_kubeconfig_follows_the_control_planes(options: argparse.Namespace, tmp_path: Path) -> None:
    node = compose.ComposeNode(options)
    node.refresh_kubeconfig()
    host = options.host_kubeconfig
    assert "https://127.0.0.1:2" in host.read_text()
    (tmp_path / "control").write_text(KUBECONFIG.replace("glassmesh", "renewed"))
    node.refresh_kubeconfig()
    assert "renewed" in host.read_text()
    assert host.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "a", "ns/sa", "ns/sa=", "ns=dir", "/sa"])
def test_malformed_tokens_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="NAMESPACE/ACCOUNT=DIRECTORY"):
        compose.workload(text)


FILE = yaml.safe_load(Path("docker-compose.yml").read_text())
SERVICES = FILE["services"]
PODS = [name.removesuffix("-init") for name in SERVICES if name.endswith("-init")]


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_is_four_containers_in_one_network(pod: str) -> None:
    init, proxy, app = (SERVICES[f"{pod}-{part}"] for part in ("init", "proxy", "app"))
    assert {each["network_mode"] for each in (init, proxy, app)} == {f"service:{pod}"}
    assert (proxy["user"], app["user"]) == ("1337:1337", "10001:10001")
    assert [each.get("cap_add", []) for each in (SERVICES[pod], init, proxy, app)] == [
        [],
        ["NET_ADMIN", "NET_RAW"],
        [],
        [],
    ]
    assert proxy["depends_on"] == {f"{pod}-init": {"condition": "service_completed_successfully"}}
    assert app["depends_on"] == {f"{pod}-proxy": {"condition": "service_healthy"}}


@pytest.mark.parametrize("sidecar", [*(f"{pod}-proxy" for pod in PODS), "gateway"])
def test_a_sidecar_has_the_token_of_its_account(sidecar: str) -> None:
    environment = SERVICES[sidecar]["environment"]
    mounted = [text.split(":")[0] for text in SERVICES[sidecar]["volumes"] if text.endswith("/tokens:ro")]
    identity = f"{environment['POD_NAMESPACE']}/{environment['SERVICE_ACCOUNT']}"
    tokens = [
        compose.workload(text.removeprefix("--token="))
        for text in SERVICES["node"]["command"]
        if "--token=" in text
    ]
    (directory,) = [
        each.directory for each in tokens if f"{each.namespace}/{each.service_account}" == identity
    ]
    assert f"{mounted[0]}:{directory}" in SERVICES["node"]["volumes"]


def test_the_accounts_and_services_are_in_the_manifests() -> None:
    manifests = [Path(text) for text in SERVICES["node"]["command"] if text.endswith(".yaml")]
    names = {(obj["kind"], obj["metadata"]["name"]) for obj in compose.objects(manifests)}
    for sidecar in [*(f"{pod}-proxy" for pod in PODS), "gateway"]:
        assert ("ServiceAccount", SERVICES[sidecar]["environment"]["SERVICE_ACCOUNT"]) in names
    assert {("Service", "reviews"), ("Gateway", "bookinfo-gateway"), ("VirtualService", "bookinfo")} <= names


def test_prometheus_scrapes_every_sidecar() -> None:
    jobs = {
        job["job_name"]: job
        for job in yaml.safe_load(Path("demo_apps/prometheus.yml").read_text())["scrape_configs"]
    }
    targets = jobs["sidecars"]["static_configs"][0]["targets"]
    assert sorted(targets) == sorted(f"{name}:15020" for name in [*PODS, "gateway"])
    assert SERVICES["prometheus"]["profiles"] == ["metrics"]


def test_no_container_has_a_fixed_name_or_runs_with_more_than_it_needs() -> None:
    for name, service in SERVICES.items():
        assert "container_name" not in service
        if name != "prometheus":
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
