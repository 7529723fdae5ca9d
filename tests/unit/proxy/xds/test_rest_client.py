"""State-of-the-world REST: one snapshot from five polls, refusals by type, names that are followed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from proxy.admin.http_server import HttpServer, Request, Response
from proxy.bootstrap import rest_source
from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from proxy.observability.stats import StatsStore
from proxy.xds.http_client import HttpClient
from proxy.xds.resources import Resources
from proxy.xds.rest_client import RestXdsClient

T = "type.googleapis.com/"
TYPES = {
    "clusters": CLUSTER,
    "endpoints": ENDPOINT,
    "listeners": LISTENER,
    "routes": ROUTE,
    "secrets": SECRET,
}
REST = rest_source()


def eds_cluster(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": REST, "service_name": name},
        **more,
    }


def listener(name: str, route: str) -> dict[str, Any]:
    manager = {
        "@type": T + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "rds": {"config_source": REST, "route_config_name": route},
    }
    common = {"tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": REST}]}
    tls = {
        "@type": T + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": common,
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{
            "transport_socket": {"name": "tls", "typed_config": tls},
            "filters": [{"name": "hcm", "typed_config": manager}],
        }],
    }  # fmt: skip


class RestServer:
    """Answers by type; holds a poll whose version and names are current."""

    def __init__(self) -> None:
        self.resources: dict[str, list[dict[str, Any]]] = {kind: [] for kind in TYPES}
        self.versions = dict.fromkeys(TYPES, 1)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.changed = asyncio.Event()

    def set(self, **resources: list[dict[str, Any]]) -> None:
        for kind, found in resources.items():
            self.resources[kind] = found
            self.versions[kind] += 1
        self.changed.set()
        self.changed = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        body, kind = json.loads(request.body), request.path.removeprefix("/v3/discovery:")
        self.asked.append((kind, body))
        while body["version_info"] == str(self.versions[kind]) or ("error_detail" in body and self.changed):
            await self.changed.wait()
            break
        names = body["resource_names"]
        picked = [
            r for r in self.resources[kind] if not names or (r.get("name") or r.get("cluster_name")) in names
        ]
        typed = [{"@type": TYPES[kind], **r} for r in picked]
        return Response(json.dumps({"version_info": str(self.versions[kind]), "resources": typed}))


class Applied:
    def __init__(self) -> None:
        self.snapshots: list[dict[str, list[str]]] = []
        self.arrived = asyncio.Event()

    def __call__(self, resources: Resources, version: str) -> None:
        kinds = {kind: sorted(resources[type_url]) for kind, type_url in TYPES.items()}
        self.snapshots.append({kind: names for kind, names in kinds.items() if names})
        self.arrived.set()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def polling(rest: RestServer) -> AsyncIterator[tuple[Applied, StatsStore]]:
    server, applied, stats = HttpServer(rest.answer, "rest"), Applied(), StatsStore()
    address = await server.start("127.0.0.1", 0)
    client = RestXdsClient(lambda: HttpClient(*address), {"id": "n"}, applied, stats)
    task = asyncio.create_task(client.run())
    try:
        yield applied, stats
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.close()


async def test_one_snapshot_of_everything_that_is_named() -> None:
    rest = RestServer()
    rest.set(
        clusters=[eds_cluster("a")],
        endpoints=[{"cluster_name": "a"}, {"cluster_name": "other"}],
        listeners=[listener("l", "9080")],
        routes=[{"name": "9080"}, {"name": "80"}],
        secrets=[{"name": "default", "validation_context": {"trusted_ca": {"inline_string": "x"}}}],
    )
    async with polling(rest) as (applied, stats):
        await until(lambda: bool(applied.snapshots))
        whole = {
            "clusters": ["a"],
            "endpoints": ["a"],
            "listeners": ["l"],
            "routes": ["9080"],
            "secrets": ["default"],
        }
        assert applied.snapshots == [whole]
        assert stats.counter("cluster_manager.cds.update_success").value == 1

        # A new cluster is applied together with its endpoints, never before.
        rest.set(clusters=[eds_cluster("a"), eds_cluster("b")])
        await asyncio.sleep(0)
        rest.set(endpoints=[{"cluster_name": "a"}, {"cluster_name": "b"}])
        await until(lambda: applied.snapshots[-1].get("endpoints") == ["a", "b"])
        assert all(s["clusters"] == s["endpoints"] for s in applied.snapshots)

        # Absence is deletion for clusters.
        rest.set(clusters=[eds_cluster("b")])
        await until(lambda: applied.snapshots[-1]["clusters"] == ["b"])
        assert applied.snapshots[-1]["endpoints"] == ["b"]


async def test_a_refused_type_keeps_its_last_good_and_says_why() -> None:
    rest = RestServer()
    rest.set(clusters=[eds_cluster("a")], endpoints=[{"cluster_name": "a"}])
    async with polling(rest) as (applied, stats):
        await until(lambda: bool(applied.snapshots))
        rest.set(clusters=[eds_cluster("a", bogus=1)])
        await until(lambda: any("error_detail" in body for kind, body in rest.asked if kind == "clusters"))
        nack = next(body for kind, body in rest.asked if "error_detail" in body)
        assert nack["error_detail"]["message"] == 'clusters["a"].bogus: not implemented'
        assert nack["version_info"] == "2"
        assert stats.counter("cluster_manager.cds.update_rejected").value == 1
        rest.set(clusters=[eds_cluster("c")], endpoints=[{"cluster_name": "c"}])
        await until(lambda: applied.snapshots[-1] == {"clusters": ["c"], "endpoints": ["c"]})


async def test_a_server_that_goes_away_and_comes_back() -> None:
    rest = RestServer()
    rest.set(clusters=[eds_cluster("a")], endpoints=[{"cluster_name": "a"}])
    server, applied, stats = HttpServer(rest.answer, "rest"), Applied(), StatsStore()
    host, port = await server.start("127.0.0.1", 0)
    client = RestXdsClient(lambda: HttpClient(host, port), {"id": "n"}, applied, stats)
    task = asyncio.create_task(client.run())
    await until(lambda: bool(applied.snapshots))
    await server.close()
    await until(lambda: stats.gauge("control_plane.connected_state").value == 0)
    assert not task.done()
    server = HttpServer(rest.answer, "rest")
    await server.start(host, port)
    rest.set(clusters=[eds_cluster("b")], endpoints=[{"cluster_name": "b"}])
    await until(lambda: applied.snapshots[-1].get("clusters") == ["b"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await server.close()
