"""What no Istio field asks for but xDS may: detection by success rate and by failure percentage, enforced in full, always one host;
and the names of TLS connections taken from requests. Our sidecar and a real Envoy get the same configuration and the same requests."""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from bench.peers import envoy
from bench.ports import free_ports
from proxy.xds.http_client import HttpClient, HttpError

pytestmark = pytest.mark.skipif(envoy.binary() is None, reason="no envoy binary")

T = "type.googleapis.com/envoy."
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
DETECTION = {
    "interval": "0.4s",
    "base_ejection_time": "30s",
    "max_ejection_percent": 100,
    "consecutive_5xx": 0,
}
RATES = {
    "success_rate_minimum_hosts": 3,
    "success_rate_request_volume": 5,
    "success_rate_stdev_factor": 1000,
    "failure_percentage_minimum_hosts": 3,
    "failure_percentage_request_volume": 5,
    "failure_percentage_threshold": 50,
}
BY_NAME: dict[str, dict[str, Any]] = {
    "rate": {**RATES, "enforcing_success_rate": 100},
    "rate-not-enforced": {**RATES, "enforcing_success_rate": 0},
    "percentage": {**RATES, "enforcing_success_rate": 0, "enforcing_failure_percentage": 100},
    "too-few": {**RATES, "success_rate_minimum_hosts": 6, "failure_percentage_minimum_hosts": 6},
    "always-one": {"consecutive_5xx": 3, "max_ejection_percent": 1, "always_eject_one_host": True},
    "never-one": {"consecutive_5xx": 3, "max_ejection_percent": 1},
}
EJECTED = 3  # in `rate`, `percentage` and `always-one`
HOSTS = 5
NAMES = ("good.test", "*.wild.test")
ASKED = ("good.test", "GOOD.test:1", "a.wild.test", "a.b.wild.test", "bad.test", "127.0.0.1")


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _cluster(name: str, ports: list[int], **fields: Any) -> dict[str, Any]:
    endpoints = [{"endpoint": {"address": _address(port)}} for port in ports]
    return {
        "name": name,
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "connect_timeout": "2s",
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        **fields,
    }


def _tls(roots: str) -> dict[str, Any]:
    typed = {
        "@type": T + "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {"validation_context": {"trusted_ca": {"filename": roots}}},
    }
    options = {
        "@type": "type.googleapis.com/" + HTTP,
        "explicit_http_config": {"http_protocol_options": {}},
        "upstream_http_protocol_options": {"auto_sni": True, "auto_san_validation": True},
    }
    return {
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": typed},
        "typed_extension_protocol_options": {HTTP: options},
    }


def _bootstrap(port: int, admin: int, clusters: list[dict[str, Any]]) -> dict[str, Any]:
    names = [cluster["name"] for cluster in clusters]
    routes = [{"match": {"prefix": f"/{name}/"}, "route": {"cluster": name}} for name in names]
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": T + "extensions.filters.http.router.v3.Router"},
    }
    manager = {
        "@type": T + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]},
        "http_filters": [router],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {
        "node": {"id": "n", "cluster": "c"},
        "admin": {"address": _address(admin)},
        "static_resources": {
            "listeners": [{"name": "in", "address": _address(port), "filter_chains": [chain]}],
            "clusters": clusters,
        },
    }


async def _serve(stack: AsyncExitStack, status: int, tls: ssl.SSLContext | None = None) -> int:
    """An app that answers everything with one status; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    stack.callback(server.close)
    port: int = server.sockets[0].getsockname()[1]
    return port


class Side:
    """One implementation with apps of its own."""

    def __init__(self, port: int, admin: int, apps: dict[str, list[int]], sent: list[str | None]) -> None:
        self._port, self._admin = port, admin
        self._symbols = {
            f"127.0.0.1:{one}": f"HOST{i}" for ports in apps.values() for i, one in enumerate(ports)
        }
        self.names_sent = sent

    async def get(self, path: str, host: str = "x") -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return int(answer.split()[1])

    async def page(self, path: str) -> str:
        client = HttpClient("127.0.0.1", self._admin)
        try:
            return (await client.request("GET", path, within=5)).body.decode()
        finally:
            client.close()

    async def ready(self) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    if "LIVE" in await self.page("/ready"):
                        return
                except HttpError:
                    pass
                await asyncio.sleep(0.05)

    async def detection(self) -> list[str]:
        """Stats and host lines that tell of outlier detection."""
        wanted = ("health_flags",)
        hosts = [
            line for line in (await self.page("/clusters")).splitlines() if any(w in line for w in wanted)
        ]
        for address, symbol in self._symbols.items():
            hosts = [line.replace(address, symbol) for line in hosts]
        stats = (await self.page("/stats?usedonly&filter=outlier_detection")).splitlines()
        return sorted([*hosts, *(line for line in stats if not line.endswith(": 0"))])


@asynccontextmanager
async def side(kind: str, directory: Path, authority: trustme.CA) -> AsyncIterator[Side]:
    roots, sent = directory / "roots.pem", list[str | None]()
    authority.cert_pem.write_to_path(str(roots))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*NAMES).configure_cert(server)
    server.sni_callback = lambda _, name, __: sent.append(name)
    async with AsyncExitStack() as stack:
        statuses = [500, *[200] * (HOSTS - 1)]
        apps = {name: [await _serve(stack, status) for status in statuses] for name in BY_NAME}
        clusters = [
            _cluster(name, apps[name], outlier_detection={"enforcing_success_rate": 0, **DETECTION, **fields})
            for name, fields in BY_NAME.items()
        ]
        apps["tls"] = [await _serve(stack, 200, server)]
        clusters.append(_cluster("tls", apps["tls"], **_tls(str(roots))))
        port, admin = free_ports(2)
        file = directory / f"{kind}.json"
        file.write_text(json.dumps(_bootstrap(port, admin, clusters)))
        command = [sys.executable, "-m", "proxy"] if kind == "ours" else [envoy.binary() or "", "--concurrency", "1", "--disable-hot-restart"]  # fmt: skip
        child = await asyncio.create_subprocess_exec(*command, "-c", str(file), "-l", "error")
        try:
            found = Side(port, admin, apps, sent)
            await found.ready()
            yield found
        finally:
            if child.returncode is None:
                child.terminate()
            await child.wait()


async def _converse(one: Side) -> dict[str, Any]:
    """The same requests to either side, and what came of them."""
    for name in BY_NAME:
        # Enough for a judgement even if the end of an interval cuts them in two.
        for _ in range(12 * HOSTS):
            await one.get(f"/{name}/x")
    async with asyncio.timeout(10):
        while sum("failed_outlier_check" in line for line in await one.detection()) < EJECTED:
            await asyncio.sleep(0.05)
    # How often a host was found out without being ejected is a matter of when intervals end.
    lasting = ("health_flags", "ejections_active", "_enforced_")
    stats = [line for line in await one.detection() if any(word in line for word in lasting)]
    return {
        "detection": stats,
        "tls": [await one.get("/tls/x", host) for host in ASKED],
        "sent": one.names_sent,
    }


async def test_what_only_xds_asks_for(tmp_path: Path) -> None:
    authority = trustme.CA()
    async with side("ours", tmp_path, authority) as ours, side("envoy", tmp_path, authority) as envoys:
        mine, theirs = await asyncio.gather(_converse(ours), _converse(envoys))
    assert mine == theirs
    assert mine["tls"] == [200, 200, 200, 503, 503, 503]
    assert mine["sent"] == ["good.test", "a.wild.test", "a.b.wild.test", "bad.test", None]
    ejected = [line.split("::")[0] for line in mine["detection"] if line.endswith("failed_outlier_check")]
    assert ejected == ["always-one", "percentage", "rate"]
