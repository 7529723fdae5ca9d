"""Every admin page beside a real Envoy's, both driven by one REST xDS server with one configuration."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.ports import free_ports
from proxy import bootstrap
from proxy.admin.http_server import HttpServer, Request, Response
from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from proxy.xds.http_client import HttpClient, HttpError
from proxy.xds.http_client import Response as Answer
from tests.unit.proxy.mesh_ca import MeshCa

ENVOY = shutil.which("envoy", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
pytestmark = [pytest.mark.envoy, pytest.mark.skipif(ENVOY is None, reason="no envoy binary")]

T = "type.googleapis.com/"
REST = bootstrap.rest_source()
NAME = "outbound|9080||reviews.default.svc.cluster.local"
TYPES = {
    "clusters": CLUSTER,
    "endpoints": ENDPOINT,
    "listeners": LISTENER,
    "routes": ROUTE,
    "secrets": SECRET,
}


def resources(ca: MeshCa) -> dict[str, list[dict[str, Any]]]:
    chain, key = ca.issue("spiffe://cluster.local/ns/default/sa/productpage")
    router = {
        "name": "router",
        "typed_config": {"@type": T + "envoy.extensions.filters.http.router.v3.Router"},
    }
    manager = {
        "@type": T + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "outbound_0.0.0.0_9080",
        "rds": {"config_source": REST, "route_config_name": "9080"},
        "http_filters": [router],
    }
    common = {
        "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": REST}],
        "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": REST},
    }
    tls = {
        "@type": T + "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": common, "sni": "outbound_.9080_._.reviews",
    }  # fmt: skip
    limits = {
        "max_connections": 4294967295,
        "max_pending_requests": 4294967295,
        "max_requests": 4294967295,
        "max_retries": 7,
    }
    reviews = {
        "name": NAME, "type": "EDS", "eds_cluster_config": {"eds_config": REST, "service_name": NAME},
        "connect_timeout": "10s", "circuit_breakers": {"thresholds": [limits]},
        "outlier_detection": {"enforcing_success_rate": 0},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    }  # fmt: skip
    passthrough = {
        "name": "PassthroughCluster", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "10s",
    }  # fmt: skip
    endpoint = {"endpoint": {"address": bootstrap.socket_address("127.0.0.1", 1)}, "health_status": "HEALTHY"}
    assignment = {
        "cluster_name": NAME,
        "endpoints": [{"locality": {"region": "r", "zone": "z"}, "lb_endpoints": [endpoint]}],
    }
    route = {"name": "default", "match": {"prefix": "/"}, "route": {"cluster": NAME}}
    return {
        "clusters": [reviews, passthrough],
        "endpoints": [assignment],
        "listeners": [{
            "name": "0.0.0.0_9080", "traffic_direction": "OUTBOUND", "address": bootstrap.socket_address("127.0.0.1", 0),
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
        }],
        "routes": [{"name": "9080", "virtual_hosts": [{"name": "reviews:9080", "domains": ["*"], "routes": [route]}]}],
        "secrets": [
            {"name": "default", "tls_certificate": {
                "certificate_chain": {"inline_string": chain}, "private_key": {"inline_string": key}}},
            {"name": "ROOTCA", "validation_context": {"trusted_ca": {"inline_string": ca.root_pem}}},
        ],
    }  # fmt: skip


@asynccontextmanager
async def rest_server(found: dict[str, list[dict[str, Any]]]) -> AsyncIterator[int]:
    async def answer(request: Request) -> Response:
        body, kind = json.loads(request.body), request.path.removeprefix("/v3/discovery:")
        if body.get("version_info") == "1":
            await asyncio.Event().wait()
        names = body.get("resource_names") or ()
        picked = [r for r in found[kind] if not names or (r.get("name") or r.get("cluster_name")) in names]
        typed = [{"@type": TYPES[kind], **r} for r in picked]
        return Response(
            json.dumps({"version_info": "1", "resources": typed, "type_url": TYPES[kind]}),
            content_type="application/json",
        )

    server = HttpServer(answer, "rest")
    try:
        yield (await server.start("127.0.0.1", 0))[1]
    finally:
        await server.close()


class Pair:
    """The two admin interfaces."""

    def __init__(self, ours: int, envoys: int) -> None:
        self.ports = (ours, envoys)

    async def ask(self, path: str, method: str = "GET") -> tuple[Answer, Answer]:
        """Our answer and Envoy's."""
        found = []
        for port in self.ports:
            client = HttpClient("127.0.0.1", port)
            found.append(await client.request(method, path, within=5))
            client.close()
        return found[0], found[1]

    async def text(self, path: str, method: str = "GET") -> tuple[str, str]:
        ours, envoys = await self.ask(path, method)
        assert ours.status == envoys.status, path
        kind = "content-type"
        assert ours.headers[kind].split(";")[0] == envoys.headers[kind].split(";")[0], path
        return ours.body.decode(), envoys.body.decode()

    async def parsed(self, path: str) -> tuple[Any, Any]:
        ours, envoys = await self.text(path)
        return json.loads(ours), json.loads(envoys)

    async def settled(self) -> None:
        async with asyncio.timeout(20):
            for port in self.ports:
                while True:
                    client = HttpClient("127.0.0.1", port)
                    try:
                        if b"9080" in (await client.request("GET", "/listeners", within=5)).body:
                            break
                    except HttpError:
                        pass
                    finally:
                        client.close()
                    await asyncio.sleep(0.05)


@asynccontextmanager
async def pair(ca: MeshCa, directory: Path) -> AsyncIterator[Pair]:
    ports = free_ports(2)
    async with rest_server(resources(ca)) as xds:
        commands = (
            [sys.executable, "-m", "proxy"],
            [ENVOY or "", "--disable-hot-restart", "--concurrency", "1"],
        )
        children = []
        for port, command in zip(ports, commands, strict=True):
            start = {
                "node": {"id": "n", "cluster": "c", "metadata": {"A": "b"}},
                "admin": {"address": bootstrap.socket_address("127.0.0.1", port)},
                "dynamic_resources": {"lds_config": REST, "cds_config": REST},
                "static_resources": {"clusters": [bootstrap.xds_cluster("127.0.0.1", xds)]},
            }
            file = directory / f"{port}.json"
            file.write_text(json.dumps(start))
            arguments = (*command, "-c", str(file), "-l", "error")
            children.append(await asyncio.create_subprocess_exec(*arguments))
        try:
            both = Pair(*ports)
            await both.settled()
            yield both
        finally:
            for child in children:
                if child.returncode is None:
                    child.terminate()
                await child.wait()


def shape(value: Any) -> Any:
    """Keys all the way down; what a list holds is its first element's."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


def lines_of(text: str, *clusters: str) -> list[str]:
    return sorted(line for line in text.splitlines() if line.startswith(tuple(f"{c}::" for c in clusters)))


async def test_pages(mesh_ca: MeshCa, tmp_path: Path) -> None:
    """One pair for all pages: starting Envoy costs more than asking it."""
    async with pair(mesh_ca, tmp_path) as both:
        await _plain_pages(both)
        await _clusters(both)
        await _config_dump(both)
        await _stats(both)
        await _changes(both)


async def _plain_pages(both: Pair) -> None:
    ours, envoys = await both.ask("/ready")
    assert (ours.status, ours.body) == (envoys.status, envoys.body) == (200, b"LIVE\n")
    for header in ("server", "cache-control", "x-content-type-options", "content-type"):
        assert ours.headers[header] == envoys.headers[header]

    help_ours, help_envoys = await both.text("/help")
    theirs = help_envoys.splitlines()
    for line in help_ours.splitlines():
        assert any(other.startswith(line.rstrip(".")) for other in theirs), line

    missing_ours, missing_envoys = await both.text("/nope")
    assert missing_ours.splitlines()[0] == missing_envoys.splitlines()[0]
    for path in ("/quitquitquit", "/logging", "/drain_listeners", "/reset_counters", "/healthcheck/fail"):
        ours, envoys = await both.ask(path)
        assert (ours.status, ours.body) == (envoys.status, envoys.body)
    for path in ("/hot_restart_version", "/init_dump"):
        assert len(set(await both.text(path))) == 1

    ours, envoys = await both.parsed("/certs")
    assert ours == envoys
    ours, envoys = await both.parsed("/listeners?format=json")
    assert shape(ours) == shape(envoys)
    assert ours["listener_statuses"][0]["local_address"]["socket_address"]["port_value"] > 0
    ours, envoys = await both.parsed("/memory")
    assert shape(ours) == shape(envoys)
    ours, envoys = await both.parsed("/server_info")
    assert set(ours) == set(envoys)
    assert ours["command_line_options"].items() <= {**envoys["command_line_options"]}.items()
    assert ours["node"]["metadata"] == envoys["node"]["metadata"]
    assert len(ours["version"].split("/")) == len(envoys["version"].split("/"))


async def _clusters(both: Pair) -> None:
    ours, envoys = await both.text("/clusters")
    assert lines_of(ours, NAME, "PassthroughCluster") == lines_of(envoys, NAME, "PassthroughCluster")
    ours_json, envoys_json = await both.parsed("/clusters?format=json")
    for name in (NAME, "PassthroughCluster"):
        mine, other = (
            next(c for c in page["cluster_statuses"] if c["name"] == name)
            for page in (ours_json, envoys_json)
        )
        assert mine == other
    ours, envoys = await both.text("/clusters?filter=Pass")
    assert sorted(ours.splitlines()) == sorted(envoys.splitlines())


async def _config_dump(both: Pair) -> None:
    for path in ("/config_dump", "/config_dump?include_eds"):
        ours, envoys = await both.parsed(path)
        assert [c["@type"] for c in ours["configs"]] == [c["@type"] for c in envoys["configs"]]
        for mine, other in zip(ours["configs"][1:], envoys["configs"][1:], strict=True):
            assert set(mine) == set(other)
            if "EndpointsConfigDump" not in mine["@type"]:  # Envoy invents an assignment for every cluster
                assert _without_times(mine) == _without_times(other)
    for path in (
        "/config_dump?resource=dynamic_active_clusters",
        "/config_dump?resource=dynamic_listeners",
        "/config_dump?resource=dynamic_route_configs",
        "/config_dump?resource=dynamic_active_secrets",
        "/config_dump?resource=dynamic_active_clusters&mask=cluster.name",
        "/config_dump?name_regex=9080",
        "/config_dump?mask=dynamic_listeners",
    ):
        ours, envoys = await both.parsed(path)
        mine, other = ([c for c in page["configs"] if "bootstrap" not in c] for page in (ours, envoys))
        assert _without_times(mine) == _without_times(other), path
    for path in (
        "/config_dump?resource=nope",
        "/config_dump?resource=bootstrap",
        "/config_dump?mask=nope.x",
        "/config_dump?name_regex=(",
    ):
        ours, envoys = await both.text(path)
        assert ours == envoys


def _without_times(value: Any) -> Any:
    """Without `last_updated`, and lists in an order of their own: Envoy's is that of a hash map."""
    if isinstance(value, dict):
        return {k: _without_times(v) for k, v in value.items() if k != "last_updated"}
    return (
        sorted((_without_times(v) for v in value), key=lambda v: json.dumps(v, sort_keys=True))
        if isinstance(value, list)
        else value
    )


async def _stats(both: Pair) -> None:
    ours, envoys = await both.text("/stats")
    names = {line.partition(": ")[0] for line in envoys.splitlines()}
    invented = [n for n in (line.partition(": ")[0] for line in ours.splitlines()) if n not in names]
    # Ours exist from the start; Envoy makes these with the first TLS connection, request or gRPC stream.
    later = ("istiocustom.", "control_plane.connected_state", "listener.127.0.0.1_0.ssl.")
    assert [n for n in invented if not n.startswith(later) and not n.endswith(".upstream_rq_time")] == []
    ours, envoys = await both.text("/stats/prometheus")
    families = {line.split()[2] for line in envoys.splitlines() if line.startswith("# TYPE")}
    for line in ours.splitlines():
        if line.startswith("# TYPE envoy_cluster_manager"):
            assert line.split()[2] in families
    ours, envoys = await both.parsed("/stats?format=json&filter=^listener_manager.lds.update_success$")
    assert ours == envoys
    for path in ("/stats?format=nope", "/stats?filter=(", "/stats?filter=^nothing$"):
        ours, envoys = await both.text(path)
        assert ours == envoys
    ours, envoys = await both.text("/stats?filter=^cluster_manager.cds.update_(success|rejected)$")
    assert ours == envoys
    ours, envoys = await both.text("/stats?filter=upstream_cx_length_ms|upstream_rq_time&type=Histograms")
    assert all(line.endswith(": No recorded values") for line in ours.splitlines())


async def _changes(both: Pair) -> None:
    ours, envoys = await both.text("/logging?level=info", "POST")
    theirs = set(envoys.splitlines())
    assert [
        line
        for line in ours.splitlines()
        if line not in theirs and line.strip()[:3] not in ("xds", "age", "ca:", "tls")
    ] == []
    ours, envoys = await both.ask("/logging?level=loud", "POST")
    assert ours.status == envoys.status == 400
    assert ours.body.splitlines()[0] == envoys.body.splitlines()[0]
    for path in ("/reset_counters", "/drain_listeners?inboundonly&graceful", "/healthcheck/fail"):
        assert len(set(await both.text(path, "POST"))) == 1
    ours, envoys = await both.ask("/ready")
    assert (ours.status, ours.body) == (envoys.status, envoys.body)
    for path in ("/healthcheck/ok", "/quitquitquit"):
        assert len(set(await both.text(path, "POST"))) == 1
