"""A whole sidecar against a control plane: from start to ready, a change, a refusal, SIGTERM with a request in flight."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy import bootstrap, server
from proxy.__main__ import main
from proxy.agent import environment
from proxy.agent.environment import SettingsError
from proxy.observability import logging
from proxy.server import Sidecar
from proxy.xds.http_client import HttpClient, HttpError
from tests.unit.proxy.control_plane import ControlPlane, pod_environment, running
from tests.unit.proxy.mesh_ca import MeshCa

ID = "spiffe://cluster.local/ns/default/sa/reviews"
T = "type.googleapis.com/"
HCM = T + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {"name": "router", "typed_config": {"@type": T + "envoy.extensions.filters.http.router.v3.Router"}}


def cluster(port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "@type": T + "envoy.config.cluster.v3.Cluster",
        "name": "app",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "app",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def listener(direction: str = "INBOUND", **more: Any) -> dict[str, Any]:
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}]
    manager = {
        "@type": HCM,
        "stat_prefix": "inbound_0.0.0.0_80",
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
        "http_filters": [ROUTER],
    }
    return {
        "@type": T + "envoy.config.listener.v3.Listener",
        "name": "in",
        "traffic_direction": direction,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
        **more,
    }


@asynccontextmanager
async def app(release: asyncio.Event | None = None) -> AsyncIterator[int]:
    """Answers 200 `ok`; with `release`, not before it is set."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                if release is not None:
                    await release.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def get(address: tuple[str, int], path: str, method: str = "GET") -> tuple[int, str]:
    client = HttpClient(*address)
    try:
        answer = await client.request(method, path, within=5)
    finally:
        client.close()
    return answer.status, answer.body.decode()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def sidecar(
    plane: ControlPlane, directory: Path, **options: Any
) -> AsyncIterator[tuple[Sidecar, asyncio.Task[int]]]:
    settings = environment.read("sidecar", pod_environment(plane, directory))
    proxy = Sidecar(bootstrap.from_environment(settings), **options)
    task = asyncio.create_task(proxy.run())
    try:
        async with asyncio.timeout(5):
            while "stats" not in proxy.addresses and not task.done():
                await asyncio.sleep(0.005)
        yield proxy, task
    finally:
        proxy.stop()
        await task


async def ready(proxy: Sidecar) -> bool:
    return (await get(proxy.addresses["status"], "/healthz/ready"))[0] == 200


async def test_from_start_to_ready_and_a_change(mesh_ca: MeshCa, tmp_path: Path) -> None:
    async with app() as port, running(mesh_ca, ID, tmp_path) as plane:
        (tmp_path / "token").write_text("wrong")
        async with sidecar(plane, tmp_path) as (proxy, _):
            status, reason = await get(proxy.addresses["status"], "/healthz/ready")
            assert status == 503
            assert reason.startswith(
                "config not received from XDS server (is Istiod running?): cds updates: 0 "
            )
            assert (await get(proxy.addresses["admin"], "/ready"))[0] == 503
            plane.push(clusters=[cluster(port)], listeners=[listener()])
            (tmp_path / "token").write_text("a.jwt.token")
            await until(lambda: ready(proxy))
            assert await get(proxy.addresses["admin"], "/ready") == (200, "LIVE\n")
            assert (await get(proxy.addresses["status"], "/other"))[0] == 404
            address = proxy.bound_address("in")
            assert await get(address, "/") == (200, "ok")
            _, dump = await get(proxy.addresses["admin"], "/config_dump?resource=dynamic_active_clusters")
            assert json.loads(dump)["configs"][0]["cluster"]["name"] == "app"
            _, certs = await get(proxy.addresses["admin"], "/certs")
            assert json.loads(certs)["certificates"][0]["cert_chain"][0]["subject_alt_names"] == [{"uri": ID}]
            node = plane.asked[-1][1]["node"]
            assert node["id"] == "sidecar~127.0.0.1~reviews-v1-abc.default~default.svc.cluster.local"
            assert (node["cluster"], node["user_agent_name"]) == ("reviews.default", "glassmesh")

            # A push that cannot be used is told, and the last good one goes on serving.
            plane.push(listeners=[listener(bogus=1)])

            async def refused() -> bool:
                return "error_detail" in plane.asked[-1][1]

            await until(refused)
            assert "bogus" in plane.asked[-1][1]["error_detail"]["message"]
            assert await get(address, "/") == (200, "ok")
            assert await ready(proxy)
            plane.push(clusters=[], listeners=[])

            async def gone() -> bool:
                return (await get(proxy.addresses["admin"], "/listeners"))[1] == ""

            await until(gone)


async def test_a_sidecar_says_whether_it_runs_compiled(
    mesh_ca: MeshCa, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr("proxy.compiled.state", "from source (proxy/a.py has changed since compiling)")
    async with running(mesh_ca, ID, tmp_path) as plane:
        plane.push()
        async with sidecar(plane, tmp_path) as (proxy, _):
            await until(lambda: ready(proxy))
    assert "; the request path runs from source (proxy/a.py has changed since compiling)\n" in caplog.text


async def test_metrics_pages(mesh_ca: MeshCa, tmp_path: Path) -> None:
    async with app() as port, running(mesh_ca, ID, tmp_path) as plane, sidecar(plane, tmp_path) as (proxy, _):
        plane.push(clusters=[cluster(port)], listeners=[listener()])
        await until(lambda: ready(proxy))
        for path in ("/stats/prometheus", "/metrics"):
            status, text = await get(proxy.addresses["stats"], path)
            assert status == 200
            assert "envoy_cluster_manager_cds_update_success{} " in text
            assert "envoy_server_live{} 1\n" in text
            # Istio leaves most stats out.
            assert "envoy_cluster_upstream_rq_total" not in text
        assert (await get(proxy.addresses["stats"], "/"))[0] == 404
        _, merged = await get(proxy.addresses["agent"], "/stats/prometheus")
        assert "istio_agent_scrapes_total{} 1" in merged
        assert 'istio_build{component="proxy",tag=' in merged


async def test_sigterm_lets_what_is_in_flight_finish(mesh_ca: MeshCa, tmp_path: Path) -> None:
    release = asyncio.Event()
    async with (
        app(release) as port,
        running(mesh_ca, ID, tmp_path) as plane,
        sidecar(plane, tmp_path) as (proxy, task),
    ):
        plane.push(clusters=[cluster(port)], listeners=[listener()])
        await until(lambda: ready(proxy))
        address = proxy.bound_address("in")
        request = asyncio.create_task(get(address, "/slow"))

        async def in_flight() -> bool:
            return "rq_active::1" in (await get(proxy.addresses["admin"], "/clusters"))[1]

        await until(in_flight)
        os.kill(os.getpid(), signal.SIGTERM)

        async def not_ready() -> bool:
            return not await ready(proxy)

        await until(not_ready)
        assert await get(proxy.addresses["admin"], "/ready") == (503, "DRAINING\n")
        assert not task.done()
        release.set()
        assert await request == (200, "ok")
        assert await task == 0
    with pytest.raises(HttpError):
        await get(address, "/")


@pytest.mark.parametrize("path", ["/quitquitquit", "/drain"])
async def test_agent_posts(mesh_ca: MeshCa, tmp_path: Path, path: str) -> None:
    async with running(mesh_ca, ID, tmp_path) as plane, sidecar(plane, tmp_path) as (proxy, task):
        assert (await get(proxy.addresses["agent"], path))[0] == 405
        assert await get(proxy.addresses["agent"], path, "POST") == (200, "OK")
        if path == "/drain":
            assert not await ready(proxy)
            os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await asyncio.shield(task) == 0


STARTS = [
    (["-c", "/nonexistent.json"], "/nonexistent.json: No such file or directory"),
    (["-c", "{tmp}/not.json"], "not JSON"),
    (["-c", "{tmp}/bad.json"], "node: 'id' and 'cluster' are needed"),
    (["-c", "{tmp}/listener.json"], 'listeners["x"]'),
    (["sidecar"], "POD_NAME is not set"),
    ([], "want one of: sidecar, router, agent, or -c FILE"),
]


@pytest.mark.parametrize(("arguments", "text"), STARTS)
async def test_a_start_that_cannot_work_is_one_clear_line(
    tmp_path: Path, arguments: list[str], text: str
) -> None:
    (tmp_path / "not.json").write_text("{")
    source = {"api_config_source": {"api_type": "REST", "cluster_names": ["x"]}}
    (tmp_path / "bad.json").write_text(json.dumps({"dynamic_resources": {"lds_config": source}}))
    bad_listener = {
        "name": "x",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "nope": 1,
    }
    (tmp_path / "listener.json").write_text(json.dumps({"static_resources": {"listeners": [bad_listener]}}))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", *(a.replace("{tmp}", str(tmp_path)) for a in arguments),
        stderr=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    _, err = await child.communicate()
    assert child.returncode in (1, 2)
    last = err.decode().strip().splitlines()[-1]
    assert text in last
    assert "Traceback" not in err.decode()


@pytest.mark.parametrize("codec", ["httptools", "h11"])
async def test_the_http1_codec_that_was_asked_for_serves(
    mesh_ca: MeshCa, tmp_path: Path, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "proxy.http.codec.h1_h11", raising=False)
    async with app() as port, running(mesh_ca, ID, tmp_path) as plane:
        (tmp_path / "token").write_text("a.jwt.token")
        plane.push(clusters=[cluster(port)], listeners=[listener()])
        async with sidecar(plane, tmp_path, http1_codec=codec) as (proxy, _):
            await until(lambda: ready(proxy))
            assert await get(proxy.bound_address("in"), "/") == (200, "ok")
    assert ("proxy.http.codec.h1_h11" in sys.modules) == (codec == "h11")


@pytest.mark.parametrize(
    ("more", "codec"), [([], "httptools"), (["--http1-codec", "h11"], "h11"), (["--http1-codec", "x"], None)]
)
def test_the_command_line_chooses_the_http1_codec(
    more: list[str], codec: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def run(_: object, **options: object) -> int:
        asked.append(options["http1_codec"])
        return 0

    monkeypatch.setattr(server, "run", run)
    monkeypatch.setattr(logging, "start", lambda _: None)
    file = tmp_path / "bootstrap.json"
    file.write_text(json.dumps({"node": {"id": "n", "cluster": "c"}}))
    if codec is None:
        with pytest.raises(SystemExit):
            main(["-c", str(file), *more])
    else:
        assert main(["-c", str(file), *more]) == 0
        assert asked == [codec]


def test_the_event_loop_is_uvloop_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvloop")
    from proxy.net.event_loop import Loop

    assert server._loop_factory({}) is Loop
    assert server._loop_factory({"GLASSMESH_LOOP": "uvloop"}) is Loop
    assert server._loop_factory({"GLASSMESH_LOOP": "asyncio"}) is None
    with pytest.raises(SettingsError, match="'trio' is neither"):
        server._loop_factory({"GLASSMESH_LOOP": "trio"})
    monkeypatch.setitem(sys.modules, "uvloop", None)  # not installed
    monkeypatch.delitem(sys.modules, "proxy.net.event_loop")
    assert server._loop_factory({}) is None
    with pytest.raises(SettingsError, match="not installed"):
        server._loop_factory({"GLASSMESH_LOOP": "uvloop"})
