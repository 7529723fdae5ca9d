"""A control plane for tests: the CA, the aggregated endpoint and the REST paths, over TLS, from resources in a dict."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proxy.admin.http_server import HttpServer, Request, Response
from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.unit.proxy.mesh_ca import MeshCa, load_pair

TOKEN = "a.jwt.token"
PATHS = {"clusters": CLUSTER, "endpoints": ENDPOINT, "listeners": LISTENER, "routes": ROUTE}


class ControlPlane:
    """`resources` by type; `push` makes waiting polls answer, which they do not before the first."""

    def __init__(self, ca: MeshCa, identity: str) -> None:
        self.ca, self.identity = ca, identity
        self.resources: dict[str, list[dict[str, Any]]] = {t: [] for t in PATHS.values()}
        self.version = 0
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.certificate_seconds = 3600.0
        self.refuse_csr: tuple[int, str] | None = None
        self._changed = asyncio.Event()
        self.port = 0

    def push(self, **resources: list[dict[str, Any]]) -> None:
        for path, found in resources.items():
            self.resources[PATHS[path]] = found
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Response("request authenticate failure", 401)
        body = json.loads(request.body)
        self.asked.append((request.path, body))
        if request.path.endswith("/CreateCertificate"):
            return self._certificate(body)
        known = body.get("version_info")
        if self.version == 0 or known == str(self.version):
            await self._changed.wait()
        kind = request.path.removeprefix("/v3/discovery:")
        if kind == "aggregated":
            full = {
                "version_info": str(self.version), "nonce": f"n{self.version}", "full": True, "resources": self.resources,
            }  # fmt: skip
            return Response(json.dumps(full))
        names = body.get("resource_names") or ()
        found = [
            r
            for r in self.resources[PATHS[kind]]
            if not names or (r.get("name") or r.get("cluster_name")) in names
        ]
        answer = {"version_info": str(self.version), "resources": found, "type_url": PATHS[kind]}
        return Response(json.dumps(answer), content_type="application/json")

    def _certificate(self, body: dict[str, Any]) -> Response:
        if self.refuse_csr is not None:
            status, message = self.refuse_csr
            return Response(json.dumps({"message": message}), status)
        leaf = self.ca.sign(body["csr"], self.identity, self.certificate_seconds)
        return Response(json.dumps({"cert_chain": [leaf, self.ca.root_pem]}))


@asynccontextmanager
async def running(ca: MeshCa, identity: str, directory: Path) -> AsyncIterator[ControlPlane]:
    """A control plane on loopback; `directory` gets `token` and `root.pem`, as a pod has them mounted."""
    (directory / "token").write_text(TOKEN + "\n")
    (directory / "root.pem").write_text(ca.root_pem)
    plane = ControlPlane(ca, identity)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair(context, *ca.issue(dns=("localhost",)))
    http = HttpServer(plane.answer, "istiod")
    server = await asyncio.start_server(http.serve_connection, "127.0.0.1", 0, ssl=context)
    plane.port = server.sockets[0].getsockname()[1]
    try:
        yield plane
    finally:
        server.close()
        await http.close()


def pod_environment(plane: ControlPlane, directory: Path, **more: str) -> dict[str, str]:
    """The environment the injector would write; every port is free to choose."""
    config = {
        "discoveryAddress": f"localhost:{plane.port}",
        "proxyAdminPort": 0,
        "statusPort": 0,
        "terminationDrainDuration": "0.2s",
        "drainDuration": "1s",
    }
    return {
        "POD_NAME": "reviews-v1-abc",
        "POD_NAMESPACE": "default",
        "SERVICE_ACCOUNT": "reviews",
        "INSTANCE_IP": "127.0.0.1",
        "PROXY_CONFIG": json.dumps(config),
        "ENVOY_STATUS_PORT": "0",
        "ENVOY_PROMETHEUS_PORT": "0",
        "ISTIO_METAJSON_LABELS": '{"app":"reviews","version":"v1"}',
        "ISTIO_META_WORKLOAD_NAME": "reviews-v1",
        "GLASSMESH_TOKEN_FILE": str(directory / "token"),
        "GLASSMESH_ROOT_CERT_FILE": str(directory / "root.pem"),
        **more,
    }
