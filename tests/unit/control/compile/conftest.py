"""Compiles manifests for a client and a server, and picks resources apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from control.compile.compiler import compile_proxy
from control.compile.protobuf import CLUSTER, ENDPOINT, LISTENER, ROUTE
from control.mesh_config import MeshConfig
from control.push.context import PushContext
from control.push.manifests import context_of, read
from control.push.proxy import Proxy
from proxy.config.decode import decode

Json = dict[str, Any]

BASE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v1}
spec: {template: {metadata: {labels: {app: web, version: v1}}, spec: {serviceAccountName: web, containers: []}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec: {template: {metadata: {labels: {app: client}}, spec: {containers: []}}}
---
"""


class Compiled:
    """What one proxy gets, decoded by our own model on the way."""

    def __init__(self, context: PushContext, name: str, vanilla: bool, kind: Any = "sidecar") -> None:
        workload = context.by_name.get(("default", name))
        labels = workload.labels if workload else {"istio": "ingressgateway"}
        ip = workload.ip if workload else "10.9.9.9"
        proxy = Proxy(f"{kind}~{name}", kind, ip, name, "default", labels, "sa", vanilla, {})
        self._by_type: dict[str, dict[str, Json]] = {}
        for url, found in compile_proxy(context, proxy).items():
            for resource in found.values():
                decode(url, resource.name, resource.body)
            self._by_type[url] = {name: json.loads(one.body) for name, one in found.items()}

    @property
    def listeners(self) -> dict[str, Json]:
        return self._by_type[LISTENER]

    @property
    def clusters(self) -> dict[str, Json]:
        return self._by_type[CLUSTER]

    @property
    def endpoints(self) -> dict[str, Json]:
        return self._by_type[ENDPOINT]

    @property
    def routes(self) -> dict[str, Json]:
        return self._by_type[ROUTE]

    def virtual_host(self, table: str, name: str) -> Json:
        return next(host for host in self.routes[table]["virtual_hosts"] if host["name"] == name)


@pytest.fixture
def compiled() -> Callable[..., Compiled]:
    def make(
        text: str = "",
        name: str = "client",
        vanilla: bool = False,
        kind: str = "sidecar",
        mesh: MeshConfig | None = None,
    ) -> Compiled:
        return Compiled(context_of(read(BASE + text), mesh), name, vanilla, kind)

    return make
