"""Whatever validation lets through, real Envoy and our sidecar take: random VirtualServices and DestinationRules, many in one mesh."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
import pytest

from control.compile.compiler import compile_proxy
from control.compile.protobuf import LISTENER
from control.push.manifests import context_of, read
from control.push.proxy import Proxy
from control.push.static import StaticXds
from control.resources import destination_rule, http_rule, tcp_rule, traffic_policy, virtual_service
from control.resources.kind import Kind
from proxy.config.snapshot import Snapshot, build
from proxy.data_plane import DataPlane, Services
from proxy.tls.secrets import SecretStore
from tests.documents import Documents, repaired

SERVICES = 40
RULES = 4
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {0}}}
spec: {{selector: {{app: {0}}}, ports: [{{name: http, port: 80}}, {{name: tcp, port: 81}}]}}
---
"""


def _object(kind: Kind, name: str, spec: dict[str, Any]) -> Any:
    document = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": "default"},
    }
    return repaired(kind, {**document, "spec": spec})


def _objects(seed: int) -> list[Any]:
    made = Documents(Random(seed))
    found: list[Any] = []
    for index in range(SERVICES):
        name = f"s{index}"
        rules = [made.model(http_rule.HTTPRoute) for _ in range(RULES)]
        opaque = [made.model(tcp_rule.TCPRoute) for _ in range(2)]
        names = [{**made.model(tcp_rule.TLSRoute), "match": [{"sniHosts": [name]}]} for _ in range(2)]
        spec = {"hosts": [name], "http": rules, "tcp": opaque, "tls": names}
        found.append(_object(virtual_service.KIND, name, spec))
        policy, own = (made.model(traffic_policy.TrafficPolicy) for _ in range(2))
        subsets = [{"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": own}]
        rule = {"host": name, "trafficPolicy": policy, "subsets": subsets}
        found.append(_object(destination_rule.KIND, name, rule))
    return [obj for obj in found if obj is not None]


def _resources(seed: int, vanilla: bool) -> list[dict[str, Any]]:
    services = read("".join(SERVICE.format(f"s{index}") for index in range(SERVICES)))
    context = context_of([*services, *_objects(seed)])
    proxy = Proxy("x", "sidecar", "10.244.0.1", "web", "default", {"app": "web"}, "web", vanilla, {})
    found = compile_proxy(context, proxy)
    return [json.loads(one.body) for resources in found.values() for one in resources.values()]


def _on_loopback(message: dict[str, Any]) -> dict[str, Any]:
    if message["@type"] == LISTENER and message.get("bind_to_port", True):
        message["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": 0}
    return message


@pytest.mark.parametrize("seed", range(2))
async def test_our_sidecar_takes_what_validation_lets_through(seed: int, pki: Any) -> None:
    own, root = pki.secrets("spiffe://cluster.local/ns/default/sa/web")
    certificate = own["tls_certificate"]
    secrets = SecretStore()
    secrets.set_certificate(
        "default", *(certificate[name]["inline_string"] for name in ("certificate_chain", "private_key"))
    )
    secrets.set_validation("ROOTCA", root["validation_context"]["trusted_ca"]["inline_string"])
    raw: dict[str, dict[str, msgspec.Raw]] = {}
    for message in _resources(seed, vanilla=False):
        name = message.get("name") or message["cluster_name"]
        raw.setdefault(message["@type"], {})[name] = msgspec.Raw(json.dumps(_on_loopback(message)).encode())
    plane = DataPlane(asyncio.get_running_loop(), Services(secrets=secrets))
    try:
        assert plane.apply(build("1", raw, Snapshot())) == []
    finally:
        plane.close()


@pytest.mark.envoy
async def test_envoy_takes_what_validation_lets_through(
    xds: StaticXds, pki: Any, start_envoy: Callable[[str], Awaitable[Any]]
) -> None:
    messages = [*_resources(1, vanilla=True), *pki.secrets("spiffe://cluster.local/ns/default/sa/web")]
    xds.set("x", [_on_loopback(message) for message in messages])
    envoy = await start_envoy("x")
    listeners = sum(message["@type"] == LISTENER for message in messages)
    await envoy.settled(listeners)
    refused = [
        line
        for line in (await envoy.get("/stats?filter=update_rejected")).splitlines()
        if not line.endswith(" 0")
    ]
    log = [line for line in envoy.log.read_text().splitlines() if "Deprecated" not in line]
    assert not refused, "\n".join(log[-20:])
    routes = await envoy.get("/stats?filter=rds.*update_success")
    assert routes.strip()
