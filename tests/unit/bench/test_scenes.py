"""Every scene's configuration: our sidecar takes it, it says what it is for, and a short real run passes through both sidecars."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.peers import envoy
from bench.pki import Authority
from bench.sidecars import ROOT
from bench.workloads import WORKLOADS
from bench.workloads.workload import Ports, Scene
from bench.xds_server import TYPE_URLS
from proxy.config.snapshot import Snapshot, build

SCENES = {one.scene.name: one.scene for one in WORKLOADS}
PORTS = Ports(4001, 4002, 4003)
MARKS = {
    "1,000 routes": '"prefix": "/p998/"',
    "retries": '"num_retries": 3',
    "fault": "HTTPFault",
    "limits": '"outlier_detection"',
    "rate limit": "LocalRateLimit",
    "mirror": '"request_mirror_policies"',
    "a connection per request": '"max_requests_per_connection": 1',
    "a connection and session per request": '"max_session_keys": 0',
    "tcp, mTLS": "TcpProxy",
}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def _raw(snapshot: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, bytes]]:
    return {
        TYPE_URLS[kind]: {one.get("name", one.get("cluster_name")): json.dumps(one).encode() for one in found}
        for kind, found in snapshot.items()
    }


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_our_sidecar_takes_every_scene(scene: Scene, authority: Authority) -> None:
    snapshots = scene.snapshots(PORTS, authority, False)
    assert len(snapshots) == scene.hops
    for snapshot in snapshots:
        build("1", _raw(snapshot), Snapshot())
    assert MARKS.get(scene.name, "") in json.dumps(snapshots)


def test_without_a_log_no_sidecar_writes_one(authority: Authority) -> None:
    for name, there in (("access log off", False), ("http", True)):
        text = json.dumps(SCENES[name].snapshots(PORTS, authority, True))
        assert ("/dev/stdout" in text) is there


def test_opaque_plaintext_is_plaintext_between_the_sidecars(authority: Authority) -> None:
    def kind_of_socket(name: str) -> Any:
        client = SCENES[name].snapshots(PORTS, authority, True)[0]
        (cluster,) = (one for one in client["clusters"] if "app.default" in one["name"])
        return "UpstreamTlsContext" in json.dumps(cluster)

    assert kind_of_socket("tcp, mTLS")
    assert not kind_of_socket("tcp, plaintext")


@pytest.mark.envoy
@pytest.mark.skipif(envoy.binary() is None, reason="no envoy binary")
def test_a_short_run_passes_through_both_sidecars_and_says_so(tmp_path: Path) -> None:
    only = "istio,one_hop,tcp_mtls_up,mirror"
    output = tmp_path / "figures.json"
    argv = [sys.executable, "-m", "bench", "--only", only, "--peers", "direct,envoy,glassmesh"]
    argv += ["--rounds", "1", "--stretch", "0.1", "--output", str(output)]
    run = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    document = json.loads(output.read_text())
    assert set(document["workloads"]) == set(only.split(","))
    assert document["ratio_to_envoy"]["p99_at_rate"] > 0
    assert document["ratio_to_envoy_by_workload"]["mirror"]["cpu_us_per_request"] > 0
    assert (tmp_path / "charts" / "costs.svg").exists()
    assert "goals" in run.stdout
    assert not list(tmp_path.glob("glassmesh-bench-*"))
