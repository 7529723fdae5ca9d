"""A Gateway with TLS in real Envoy: the certificate of its Secret by server name, the VirtualService's answer, nothing for other names."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import trustme

from control.compile.compiler import compile_proxy
from control.compile.protobuf import LISTENER
from control.push.manifests import context_of, read
from control.push.proxy import Proxy
from control.push.static import StaticXds

pytestmark = pytest.mark.envoy

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [safe.example.com]
    tls: {mode: SIMPLE, credentialName: edge-cert}
  - port: {number: 443, name: missing, protocol: HTTPS}
    hosts: [other.example.com]
    tls: {mode: SIMPLE, credentialName: not-there}
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [safe.example.com]
    tls: {httpsRedirect: true}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec:
  hosts: [safe.example.com]
  gateways: [edge]
  http: [{directResponse: {status: 200, body: {string: safe}}}]
---
"""


def _secret(authority: trustme.CA) -> str:
    issued = authority.issue_cert("safe.example.com")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    data = {
        "tls.crt": base64.b64encode(chain).decode(),
        "tls.key": base64.b64encode(issued.private_key_pem.bytes()).decode(),
    }
    meta = {"name": "edge-cert", "namespace": "istio-system"}
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})


async def test_tls_ends_at_the_gateway(
    xds: StaticXds, start_envoy: Callable[[str], Awaitable[Any]], unused_tcp_port_factory: Callable[[], int]
) -> None:
    authority = trustme.CA()
    context = context_of([*read(GATEWAY), *read(_secret(authority))])
    labels = {"istio": "ingressgateway"}
    proxy = Proxy("router~x", "router", "10.9.9.9", "edge", "istio-system", labels, "edge", True, {})
    ports = {"0.0.0.0_443": unused_tcp_port_factory(), "0.0.0.0_80": unused_tcp_port_factory()}
    messages = []
    for found in compile_proxy(context, proxy).values():
        for resource in found.values():
            message = json.loads(resource.body)
            if message["@type"] == LISTENER:
                address = {"address": "127.0.0.1", "port_value": ports[message["name"]]}
                message["address"]["socket_address"] = address
            messages.append(message)
    xds.set("node", messages)
    envoy = await start_envoy("node")
    await envoy.settled(2)

    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with aiohttp.ClientSession() as session:
        url, headers = f"https://127.0.0.1:{ports['0.0.0.0_443']}/", {"Host": "safe.example.com"}
        async with session.get(url, ssl=trust, server_hostname="safe.example.com", headers=headers) as answer:
            assert (answer.status, await answer.text()) == (200, "safe")
            assert answer.headers["server"] == "istio-envoy"
        for name in ("other.example.com", "nobody.example.com"):
            with pytest.raises(aiohttp.ClientError):
                await session.get(url, ssl=False, server_hostname=name)
        plain = f"http://127.0.0.1:{ports['0.0.0.0_80']}/x?y=z"
        async with session.get(plain, headers=headers, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["location"]) == (301, "https://safe.example.com/x?y=z")
