"""15020 and 15021: readiness, merged metrics, app probes, and who may post."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from proxy.admin.http_server import HttpServer, Request, Response
from proxy.agent.app_probes import AppProbes
from proxy.agent.scrape import MergedMetrics
from proxy.agent.status_server import StatusServer
from proxy.observability.stats import StatsStore
from proxy.xds.http_client import HttpError


def request(path: str, method: str = "GET", remote: str = "127.0.0.1", **headers: str) -> Request:
    return Request(method, path, {}, "", headers, b"", remote)


@asynccontextmanager
async def app(answers: dict[str, Response]) -> AsyncIterator[int]:
    server = HttpServer(lambda r: answers.get(r.path) or Response(status=404), "app")
    try:
        yield (await server.start("127.0.0.1", 0))[1]
    finally:
        await server.close()


async def proxy_metrics(_query: str) -> str:
    return "envoy_x{} 1\n"


async def no_proxy(_query: str) -> str:
    raise HttpError("refused")


def status_server(**parts: Any) -> tuple[StatusServer, list[str]]:
    done: list[str] = []
    reasons: list[str | None] = parts.get("reasons", [None])

    async def not_ready() -> str | None:
        return reasons.pop(0)

    metrics = MergedMetrics(StatsStore(), parts.get("metrics", proxy_metrics), parts.get("annotations", {}))
    probes = AppProbes(parts.get("probers", {}), "127.0.0.1", None)
    return StatusServer(
        not_ready, metrics, probes, lambda: done.append("quit"), lambda: done.append("drain")
    ), done


async def test_readiness_on_both_ports() -> None:
    server, _ = status_server(reasons=["why", None])
    answer = await server.ready_port(request("/healthz/ready"))
    assert (answer.status, answer.body) == (503, "why\n")
    answer = await server.agent_port(request("/healthz/ready"))
    assert (answer.status, answer.body) == (200, b"")
    assert (await server.ready_port(request("/"))).status == 404


async def test_posts_are_local_and_posts() -> None:
    server, done = status_server()
    for path in ("/quitquitquit", "/drain"):
        answer = await server.agent_port(request(path, "POST", remote="10.0.0.1"))
        assert (answer.status, answer.body) == (403, "Only requests from localhost are allowed\n")
        answer = await server.agent_port(request(path))
        assert (answer.status, answer.body) == (405, "Method Not Allowed\n")
    assert done == []
    assert (await server.agent_port(request("/drain", "POST"))).body == "OK"
    assert done == ["drain"]
    assert (await server.agent_port(request("/nope"))).status == 404


async def test_merged_metrics_app_last_with_its_content_type() -> None:
    open_metrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    async with app({"/m": Response("app_x 2\n# EOF\n", content_type=open_metrics)}) as port:
        annotations = {"scrape": "true", "port": str(port), "path": "/m"}
        server, _ = status_server(annotations=annotations)
        answer = await server.agent_port(request("/stats/prometheus"))
    assert answer.content_type == open_metrics
    assert isinstance(answer.body, bytes)
    text = answer.body.decode()
    assert text.index("istio_agent_scrapes_total{} 1") < text.index("envoy_x") < text.index("app_x")
    assert text.endswith("# EOF\n")


async def test_a_failing_source_never_fails_the_scrape() -> None:
    async with app({}) as port:
        server, _ = status_server(metrics=no_proxy, annotations={"scrape": "true", "port": port})
        answer = await server.agent_port(request("/metrics"))
        assert answer.status == 200
        answer = await server.agent_port(request("/metrics"))
    assert isinstance(answer.body, bytes)
    text = answer.body.decode()
    assert 'istio_agent_scrape_failures_total{type="envoy"} 2' in text
    assert 'istio_agent_scrape_failures_total{type="application"} 2' in text


async def test_our_own_ports_are_never_the_app() -> None:
    server, _ = status_server(annotations={"scrape": "true", "port": "15020"})
    assert b"scrape_failures" not in (await server.agent_port(request("/metrics"))).body  # type: ignore[operator]


async def test_http_probes() -> None:
    moved = Response(status=302, headers=(("location", "/end"),))
    answers = {
        "/ok": Response("fine"), "/bad": Response("sick", 503), "/moved": moved, "/end": Response("there"),
        "/big": Response("x" * 20000), "/loop": Response(status=302, headers=(("location", "/loop"),)),
        "/nowhere": Response(status=304),
    }  # fmt: skip
    async with app(answers) as port:
        probers = {f"/app-health/c{path}": {"httpGet": {"path": path, "port": port}} for path in answers}
        probers["/app-health/c/tcp"] = {"tcpSocket": {"port": port}}
        server, _ = status_server(probers=probers)

        async def probe(path: str) -> tuple[int, Any]:
            answer = await server.agent_port(request(f"/app-health/c{path}"))
            return answer.status, answer.body

        assert await probe("/ok") == (200, b"fine")
        assert await probe("/bad") == (503, b"sick")
        assert await probe("/moved") == (200, b"there")
        assert (await probe("/big"))[1] == b"x" * 10240
        assert (await probe("/loop"))[0] == 500
        assert (await probe("/nowhere"))[0] == 200  # a 3xx that goes nowhere means the app lives
        assert (await probe("/tcp"))[0] == 200
        assert await probe("/other") == (400, "app prober config does not exists for /app-health/c/other")
    assert (await probe("/ok"))[0] == 500
    assert (await probe("/tcp"))[0] == 500


async def test_a_probe_reads_no_further_than_the_kubelet() -> None:
    """An app whose answer never ends is alive."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"x" * 4096)
                await writer.drain()
        writer.close()
        gone.set()

    gone = asyncio.Event()
    async with await asyncio.start_server(talk, "127.0.0.1", 0) as listening:
        probe = {"httpGet": {"port": listening.sockets[0].getsockname()[1]}, "timeoutSeconds": 10}
        server, _ = status_server(probers={"/app-health/c/livez": probe})
        answer = await server.agent_port(request("/app-health/c/livez"))
        assert (answer.status, answer.body) == (200, b"x" * 10240)
        await gone.wait()


async def test_a_probe_that_hangs_ends_at_its_timeout() -> None:
    async def silent(_r: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            writer.close()

    hanging = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = hanging.sockets[0].getsockname()[1]
    server, _ = status_server(
        probers={"/app-health/c/livez": {"httpGet": {"port": port}, "timeoutSeconds": 0.05}}
    )
    assert (await server.agent_port(request("/app-health/c/livez"))).status == 500
    hanging.close()
