"""Bookinfo with each mix of sidecars: callers and callees by our proxy or by real Envoy give the same answers.

One mesh per mix, started from the same manifests with the pod annotation that chooses the sidecar; what a user and the
apps see must not tell which it was.
"""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from node import run_state
from tests.netns.mesh import Mesh

pytestmark = [pytest.mark.netns, pytest.mark.envoy]

MANIFESTS = Path(__file__).parents[2] / "demo_apps" / "manifests"
SERVERS = {"details", "ratings"}  # called and calling nobody; productpage and reviews call them
POD = re.compile(r"[a-z]+-v\d-[a-z0-9]{10}-[a-z0-9]{5}")


def bookinfo(directory: Path, callers: str, callees: str, workers: int) -> Path:
    """The sample's manifests with each Deployment annotated for its sidecar; `workers` 0: not told how many."""
    documents = list(yaml.safe_load_all((MANIFESTS / "bookinfo.yaml").read_text()))
    for document in documents:
        if document["kind"] == "Deployment":
            sidecar = callees if document["metadata"]["labels"]["app"] in SERVERS else callers
            annotations = document["spec"]["template"]["metadata"].setdefault("annotations", {})
            if sidecar == "envoy":
                annotations["glassmesh.io/proxy"] = "envoy"
            if workers:
                annotations["proxy.istio.io/config"] = f"concurrency: {workers}"
    path = directory / "bookinfo.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return path


def fetch(url: str) -> tuple[int, str]:
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.status, response.read().decode()


def answers(mesh: Mesh) -> dict[str, Any]:
    """What users and apps see, without what names a pod."""
    running = run_state.read(mesh.state)
    assert running is not None
    gateway = f"http://127.0.0.1:{running.gateway_port}"
    seen: dict[str, Any] = {}
    for path in ("/api/v1/products", "/api/v1/products/0", "/api/v1/products/0/ratings"):
        status, body = fetch(gateway + path)
        seen[path] = (status, json.loads(body))
    status, body = fetch(gateway + "/productpage")
    seen["/productpage"] = (status, POD.sub("POD", body))
    reviews = json.loads(fetch(gateway + "/api/v1/products/0/reviews")[1])
    seen["reviews"] = [{**review, "rating": None} for review in reviews["reviews"]]
    # What the server app is told of the hop: mutual TLS on both ends, whoever did it.
    seen["peer"] = peer_identity(mesh)
    seen["unknown path"] = mesh.exec(
        "productpage-v1", "python3", "-m", "demo_apps.curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
        "http://details:9080/nothing",
    ).strip()  # fmt: skip
    return seen


def peer_identity(mesh: Mesh) -> str:
    """The SPIFFE id that details' sidecar saw, by its metrics."""
    metrics = ask(mesh, "details-v1", "/certs")
    found = re.findall(r"spiffe://[^\"]+", metrics)
    return found[0] if found else metrics


def ask(mesh: Mesh, pod: str, path: str) -> str:
    """A page of the pod's sidecar."""
    return mesh.exec(pod, "python3", "-m", "demo_apps.curl", "-s", f"http://127.0.0.1:15000{path}", root=True)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("ours"), "glassmesh", "glassmesh")


def run(directory: Path, callers: str, callees: str, workers: int = 0) -> dict[str, Any]:
    mesh = Mesh(directory / "state")
    manifest = bookinfo(directory, callers, callees, workers)
    try:
        mesh.up("-f", str(manifest), "-f", str(MANIFESTS / "bookinfo-gateway.yaml"),
                "-f", str(MANIFESTS / "destination-rule-all.yaml"),
                "-f", str(MANIFESTS / "virtual-service-all-v1.yaml"))  # fmt: skip
        sidecars = {
            pod["metadata"]["labels"]["app"]: (pod["metadata"].get("annotations") or {}).get(
                "glassmesh.io/proxy", "glassmesh"
            )
            for app in ("productpage", "reviews", "details", "ratings")
            for pod in mesh.pods(app, "default")
        }
        assert sidecars == {
            "productpage": callers,
            "reviews": callers,
            "details": callees,
            "ratings": callees,
        }
        for app in ("productpage-v1", "details-v1") if workers else ():
            assert f"server.concurrency: {workers}\n" in ask(mesh, app, "/stats?filter=server.concurrency")
        return answers(mesh)
    finally:
        mesh.down()
        mesh.assert_nothing_left()


@pytest.mark.parametrize(
    ("callers", "callees", "workers"),
    [("glassmesh", "envoy", 2), ("envoy", "glassmesh", 2), ("envoy", "envoy", 0)],
)
def test_a_mix_answers_as_ours_alone(
    ours: dict[str, Any], tmp_path: Path, callers: str, callees: str, workers: int
) -> None:
    """However many workers each sidecar has: `concurrency` of the pods' own ProxyConfig."""
    assert run(tmp_path, callers, callees, workers) == ours


def test_ours_alone_answers(ours: dict[str, Any]) -> None:
    assert ours["/productpage"][0] == 200
    assert "Reviewer1" in ours["/productpage"][1]
    assert ours["/api/v1/products/0/ratings"] == (200, {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}})
    assert ours["peer"] == "spiffe://cluster.local/ns/default/sa/bookinfo-details"
    assert ours["unknown path"] == "404"
