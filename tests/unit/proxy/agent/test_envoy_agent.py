"""The agent with a real Envoy: secrets, relayed discovery, readiness, metrics, SIGTERM, and Envoy's death."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.ports import free_ports
from proxy.agent import environment
from proxy.agent.environment import Settings, SettingsError
from proxy.agent.envoy_agent import EnvoyAgent
from proxy.agent.envoy_process import find
from proxy.bootstrap import rest_source
from proxy.tls.ssl_context import SslContext
from proxy.xds.http_client import HttpClient, HttpError
from tests.unit.proxy.control_plane import ControlPlane, pod_environment, running
from tests.unit.proxy.mesh_ca import MeshCa

ENVOY = shutil.which("envoy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
ID = "spiffe://cluster.local/ns/default/sa/reviews"
T = "type.googleapis.com/"

pytestmark = [pytest.mark.envoy, pytest.mark.skipif(ENVOY is None, reason="no envoy binary")]


def inbound(port: int) -> dict[str, Any]:
    """A mutual TLS listener that answers by itself, by a pattern above Envoy's own RE2 limit and below Istio's."""
    match = {"safe_regex": {"regex": "/.*a{0,500}.*"}}
    routes = [{"match": match, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}}]
    manager = {
        "@type": T + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "inbound",
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "r", "typed_config": {"@type": T + "envoy.extensions.filters.http.router.v3.Router"}}],
    }  # fmt: skip
    common = {
        "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": rest_source()}],
        "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": rest_source()},
    }
    tls = {
        "@type": T + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": common,
        "require_client_certificate": True,
    }
    return {
        "@type": T + "envoy.config.listener.v3.Listener",
        "name": "in",
        "traffic_direction": "INBOUND",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{
            "transport_socket": {"name": "tls", "typed_config": tls},
            "filters": [{"name": "hcm", "typed_config": manager}],
        }],
    }  # fmt: skip


def cluster() -> dict[str, Any]:
    return {"@type": T + "envoy.config.cluster.v3.Cluster", "name": "c", "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": {"cluster_name": "c"}}  # fmt: skip


async def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    client = HttpClient("127.0.0.1", port)
    try:
        answer = await client.request(method, path, within=5)
    finally:
        client.close()
    return answer.status, answer.body.decode()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.05)


@asynccontextmanager
async def agent(plane: ControlPlane, directory: Path) -> AsyncIterator[tuple[Settings, asyncio.Task[int]]]:
    admin, status_port, status, stats, relay = free_ports(5)
    variables = pod_environment(plane, directory)
    config = json.loads(variables["PROXY_CONFIG"]) | {
        "proxyAdminPort": admin,
        "statusPort": status_port,
        "concurrency": 1,
    }
    variables |= {
        "PROXY_CONFIG": json.dumps(config), "ENVOY_STATUS_PORT": str(status), "ENVOY_PROMETHEUS_PORT": str(stats),
        "GLASSMESH_RELAY_PORT": str(relay),
    }  # fmt: skip
    settings = environment.read("sidecar", variables)
    running_agent = EnvoyAgent(settings, Path(ENVOY or ""))
    task = asyncio.create_task(running_agent.run())
    try:
        yield settings, task
    finally:
        running_agent.stop()
        await task


async def is_ready(settings: Settings) -> bool:
    try:
        return (await get(settings.ports.status, "/healthz/ready"))[0] == 200
    except HttpError:
        return False


async def test_envoy_serves_mutual_tls_from_the_agents_secrets(mesh_ca: MeshCa, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with running(mesh_ca, ID, tmp_path) as plane, agent(plane, tmp_path) as (settings, task):
        plane.push(clusters=[cluster()], listeners=[inbound(port)])
        await until(lambda: is_ready(settings))
        await _says_hello(mesh_ca, port)

        _, merged = await get(settings.ports.agent, "/stats/prometheus")
        assert "istio_agent_scrapes_total" in merged
        assert "envoy_cluster_manager_cds_update_success" in merged
        assert (await get(settings.ports.stats, "/metrics"))[0] == 200
        node = next(body["node"] for path, body in plane.asked if path == "/v3/discovery:listeners")
        assert node["user_agent_name"] == "envoy"
        assert node["id"].startswith("sidecar~127.0.0.1~reviews-v1-abc.default~")
        assert not any(path == "/v3/discovery:secrets" for path, _ in plane.asked)  # never asked elsewhere

        os.kill(os.getpid(), signal.SIGTERM)

        async def not_ready() -> bool:
            return not await is_ready(settings)

        await until(not_ready)
        async with asyncio.timeout(10):
            assert await asyncio.shield(task) == 0


async def _says_hello(mesh_ca: MeshCa, port: int) -> None:
    def context() -> SslContext:
        made = SslContext(server=False)  # which is not the name that its certificate has
        made.load_certificate(*mesh_ca.issue("spiffe://cluster.local/ns/default/sa/client"))
        return made

    client = HttpClient("127.0.0.1", port, tls=context)
    assert (await client.request("GET", "/", within=5)).body == b"hello"
    client.close()


async def test_envoys_death_ends_the_agent_with_its_status(mesh_ca: MeshCa, tmp_path: Path) -> None:
    async with running(mesh_ca, ID, tmp_path) as plane, agent(plane, tmp_path) as (settings, task):
        plane.push(clusters=[cluster()], listeners=[])

        async def admin_is_there() -> bool:
            try:
                return (await get(settings.ports.admin, "/server_info"))[0] == 200
            except HttpError:
                return False

        await until(admin_is_there)
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        (envoy,) = [c for c in children if b"envoy-rev.json" in Path(f"/proc/{c}/cmdline").read_bytes()]
        os.kill(int(envoy), signal.SIGKILL)
        async with asyncio.timeout(5):
            assert await asyncio.shield(task) == 128 + signal.SIGKILL


def test_finding_the_binary(tmp_path: Path) -> None:
    assert find({}) == Path(ENVOY or "")
    with pytest.raises(SettingsError, match="is not an executable"):
        find({"ENVOY": str(tmp_path / "no")})
