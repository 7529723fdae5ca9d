"""What compiled configuration does in real Envoy: rules, and mutual TLS between two sidecars.

The listeners that capture would feed are bound to loopback ports instead, and the app stands where the original destination would be;
nothing else of the compiled resources is changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from control.compile.compiler import compile_proxy
from control.compile.protobuf import CLUSTER, ENDPOINT, LISTENER
from control.push.context import PushContext
from control.push.manifests import context_of, read
from control.push.proxy import Proxy
from control.push.static import StaticXds

pytestmark = pytest.mark.envoy
Json = dict[str, Any]
Start = Callable[[str], Awaitable[Any]]

MESH = """
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: app}, ports: [{name: http, port: 9080}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {selector: {app: other}, ports: [{name: http, port: 9080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec: {template: {metadata: {labels: {app: app, version: v1}}, spec: {serviceAccountName: app, containers: []}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec: {template: {metadata: {labels: {app: client}}, spec: {serviceAccountName: client, containers: []}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app}
spec: {host: app, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
"""
RULES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app}
spec:
  hosts: [app]
  http:
  - name: header
    match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: app, subset: v1}}]
    headers: {request: {set: {x-route: header}}, response: {add: {x-answer: "yes"}}}
  - name: rewritten
    match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/, authority: new.example}
    route: [{destination: {host: app}}]
  - match: [{uri: {prefix: /any}, withoutHeaders: {x-skip: {}}}]
    route: [{destination: {host: app}}]
  - match: [{uri: {exact: /moved}}]
    redirect: {uri: /there, redirectCode: 307}
  - match: [{uri: {exact: /fixed}}]
    directResponse: {status: 418, body: {string: teapot}}
  - match: [{uri: {exact: /nobody}}]
    route: [{destination: {host: app, subset: v2}}]
  - match: [{uri: {exact: /unknown}}]
    route: [{destination: {host: app, subset: v3}}]
  - match: [{uri: {prefix: /never}}]
    route: [{destination: {host: app}}]
    timeout: 0.2s
  - match: [{queryParams: {q: {regex: "[0-9]+"}}}]
    route: [{destination: {host: app}}]
"""


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


@pytest.fixture
async def app() -> AsyncIterator[int]:
    """Answers with what it received."""

    over = asyncio.Event()

    async def echo(request: web.Request) -> web.Response:
        if request.path.startswith("/never"):
            await over.wait()
        return web.json_response({"path": request.path_qs, "headers": _lower(request.headers)})

    server = web.Application()
    server.router.add_route("*", "/{rest:.*}", echo)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    over.set()
    await runner.cleanup()


def _proxy(context: PushContext, name: str) -> Proxy:
    workload = context.by_name["default", name]
    node = f"sidecar~{workload.ip}~{name}.default~default.svc.cluster.local"
    return Proxy(node, "sidecar", workload.ip, name, "default", workload.labels, name, True, {})


def _compiled(context: PushContext, name: str) -> list[Json]:
    resources = compile_proxy(context, _proxy(context, name))
    return [json.loads(one.body) for found in resources.values() for one in found.values()]


def _loopback(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _client(context: PushContext, upstream_port: int, mtls: bool) -> list[Json]:
    """The client's resources: its HTTP listener bound, endpoints moved to where the server is."""
    kept = []
    for message in _compiled(context, "client"):
        if message["@type"] == LISTENER:
            if message["name"] != "0.0.0.0_9080":
                continue
            message |= {"address": _loopback(0), "bind_to_port": True}
        if message["@type"] == ENDPOINT:
            for group in message.get("endpoints", ()):
                for entry in group["lb_endpoints"]:
                    entry["endpoint"]["address"] = _loopback(upstream_port)
                    if not mtls:
                        del entry["metadata"]["filter_metadata"]["envoy.transport_socket_match"]
        kept.append(message)
    return kept


def _server(context: PushContext, port: int, app_port: int) -> list[Json]:
    """The server's resources: 15006 and its port are one bound port, the app is a fixed endpoint."""
    kept = []
    for message in _compiled(context, "app"):
        if message["@type"] == LISTENER:
            if message["name"] != "virtualInbound":
                continue
            message["address"] = _loopback(port)
            for chain in message["filter_chains"]:
                if chain["filter_chain_match"].get("destination_port") == 9080:
                    chain["filter_chain_match"]["destination_port"] = port
        if message["@type"] == CLUSTER and message["name"] == "inbound|9080||":
            del message["lb_policy"]
            del message["upstream_bind_config"]
            endpoint = {"endpoint": {"address": _loopback(app_port)}}
            message |= {
                "type": "STATIC",
                "load_assignment": {
                    "cluster_name": message["name"],
                    "endpoints": [{"lb_endpoints": [endpoint]}],
                },
            }
        kept.append(message)
    return kept


async def _get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    url = f"http://127.0.0.1:{port}{path}"
    headers = {"Host": "app", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status, _lower(answer.headers), await answer.text()


async def test_rules_do_what_they_say(xds: StaticXds, pki: Any, app: int, start_envoy: Start) -> None:
    context = context_of([*read(MESH), *read(RULES)])
    secrets = pki.secrets("spiffe://cluster.local/ns/default/sa/client")
    xds.set("client", [*_client(context, app, mtls=False), *secrets])
    envoy = await start_envoy("client")
    port = await envoy.listening("0.0.0.0_9080")

    status, headers, body = await _get(port, "/x", end_user="jason")
    assert (status, headers["x-answer"], json.loads(body)["headers"]["x-route"]) == (200, "yes", "header")
    assert json.loads(body)["headers"]["x-envoy-attempt-count"] == "1"

    status, _, body = await _get(port, "/old/thing?a=b")
    seen = json.loads(body)
    assert (status, seen["path"], seen["headers"]["host"]) == (200, "/new/thing?a=b", "new.example")

    assert (await _get(port, "/any/thing"))[0] == 200
    assert (await _get(port, "/any/thing", x_skip="1"))[0] == 404

    status, headers, _ = await _get(port, "/moved")
    assert (status, headers["location"]) == (307, "http://app/there")

    assert (await _get(port, "/fixed"))[::2] == (418, "teapot")
    assert (await _get(port, "/nobody"))[::2] == (503, "no healthy upstream")
    assert (await _get(port, "/unknown"))[::2] == (503, "")
    assert (await _get(port, "/never"))[::2] == (504, "upstream request timeout")
    assert (await _get(port, "/y?q=12"))[0] == 200
    assert (await _get(port, "/y?q=ab"))[0] == 404
    assert (await _get(port, "/y?q=12", Host="app.default.svc.cluster.local:9080"))[0] == 200


async def test_a_push_changes_the_route_of_running_traffic(
    xds: StaticXds, pki: Any, app: int, start_envoy: Start
) -> None:
    secrets = pki.secrets("spiffe://cluster.local/ns/default/sa/client")
    xds.set("client", [*_client(context_of(read(MESH)), app, mtls=False), *secrets])
    envoy = await start_envoy("client")
    port = await envoy.listening("0.0.0.0_9080")
    assert (await _get(port, "/fixed"))[0] == 200
    before = await envoy.stat(r"http.outbound_0\.0\.0\.0_9080.rds.9080.config_reload")
    xds.set("client", [*_client(context_of([*read(MESH), *read(RULES)]), app, mtls=False), *secrets])
    while await envoy.stat(r"http.outbound_0\.0\.0\.0_9080.rds.9080.config_reload") == before:
        pass
    assert (await _get(port, "/fixed"))[0] == 418


@pytest.mark.parametrize(("mode", "plaintext"), [("STRICT", False), ("PERMISSIVE", True)])
async def test_sidecars_meet_under_mutual_tls(
    mode: str,
    plaintext: bool,
    xds: StaticXds,
    pki: Any,
    app: int,
    start_envoy: Start,
    unused_tcp_port: int,
) -> None:
    policy = f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: default}}
spec: {{mtls: {{mode: {mode}}}}}
"""
    context = context_of([*read(MESH), *read(policy)])
    server_secrets = pki.secrets("spiffe://cluster.local/ns/default/sa/app")
    xds.set("server", [*_server(context, unused_tcp_port, app), *server_secrets])
    client_secrets = pki.secrets("spiffe://cluster.local/ns/default/sa/client")
    xds.set("client", [*_client(context, unused_tcp_port, mtls=True), *client_secrets])
    server, client = await start_envoy("server"), await start_envoy("client")
    inbound = await server.listening("virtualInbound")
    port = await client.listening("0.0.0.0_9080")

    status, headers, body = await _get(port, "/x")
    seen = json.loads(body)["headers"]
    assert (status, headers["server"]) == (200, "envoy")
    assert "By=spiffe://cluster.local/ns/default/sa/app;" in seen["x-forwarded-client-cert"]
    assert seen["x-forwarded-client-cert"].endswith(
        'Subject="";URI=spiffe://cluster.local/ns/default/sa/client'
    )

    if plaintext:
        assert (await _get(inbound, "/x"))[0] == 200
    else:
        with pytest.raises(aiohttp.ClientError):
            await _get(inbound, "/x")
