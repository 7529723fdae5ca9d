"""A control plane process of the bench's own, and its API as a client sees it."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import yaml

from bench.children import Child, Children, wait_until
from bench.ports import free_ports
from bench.scale import mesh
from bench.scale.mesh import Object
from bench.sidecars import ENVIRONMENT

GATEWAY = "169.254.77.1"  # where sidecars in namespaces of their own find it
_WRITERS = 16
_PLURALS = {
    "Namespace": "namespaces",
    "Service": "services",
    "Pod": "pods",
    "VirtualService": "virtualservices",
    "DestinationRule": "destinationrules",
}
_PATCH = {"Content-Type": "application/merge-patch+json"}


class Refused(Exception):
    """The API did not take a write; the text is its answer."""


class Plane:
    """The process; `ports` by name once it serves."""

    def __init__(self, child: Child, state: Path, ports: dict[str, int]) -> None:
        self.child, self.state, self.ports = child, state, ports
        config = yaml.safe_load((state / "kubeconfig").read_text())
        root = config["clusters"][0]["cluster"]["certificate-authority-data"]
        self.root_certificate = base64.b64decode(root).decode()
        self.token: str = config["users"][0]["user"]["token"]


def start(children: Children, directory: Path) -> Plane:
    """Raises ChildDied or TimeoutError with what it said."""
    state = directory / "state"
    api, *others = free_ports(5)
    options = ("--xds-port", "--secure-port", "--monitoring-port", "--webhook-port")
    words = [word for name, port in zip(options, others, strict=True) for word in (name, str(port))]
    argv = [sys.executable, "-m", "control", "--state", str(state), "--api-address", f"127.0.0.1:{api}"]
    child = children.start("control", [*argv, *words, "--name", GATEWAY], env=ENVIRONMENT)
    found = state / "control/ports.json"
    wait_until("the control plane serves", lambda: found.exists() and bool(found.read_text()), [child])
    return Plane(child, state, json.loads(found.read_text()))


class Api:
    """Writes objects; a write that returned is stored."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        tls = ssl.create_default_context(cadata=plane.root_certificate)
        self._session = aiohttp.ClientSession(
            f"https://127.0.0.1:{plane.ports['api']}",
            connector=aiohttp.TCPConnector(ssl=tls, limit=_WRITERS),
            headers={"Authorization": f"Bearer {plane.token}"},
        )

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, body: Any = None, headers: Object | None = None) -> Any:
        async with self._session.request(method, path, json=body, headers=headers) as answer:
            text = await answer.text()
            if answer.status >= 300:
                raise Refused(f"{method} {path}: {answer.status} {text[:500]}")
            return json.loads(text)

    async def create(self, obj: Object) -> None:
        await self.call("POST", _collection(obj), obj)

    async def write(self, method: str, obj: Object, body: Object | None) -> None:
        """POST creates `obj`; PATCH merges `body` into it, PATCH STATUS into its status."""
        if method == "POST":
            await self.create(obj)
            return
        path = f"{_collection(obj)}/{obj['metadata']['name']}"
        await self.call("PATCH", path + ("/status" if "STATUS" in method else ""), body, _PATCH)

    async def token(self, namespace: str, account: str) -> str:
        """A service account's token for the control plane."""
        base = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        account_object = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": namespace},
        }
        await self.call("POST", base, account_object)
        wanted = {"spec": {"audiences": ["istio-ca"], "expirationSeconds": 3600}}
        answer = await self.call("POST", f"{base}/{account}/token", wanted)
        return str(answer["status"]["token"])

    async def populate(self, services: int, endpoints: int) -> None:
        """Everything a mesh of this size holds."""
        for name in mesh.namespaces():
            await self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        await self._in_parallel(
            self._run_pod(number, endpoint) for number in range(services) for endpoint in range(endpoints)
        )
        await self._in_parallel(self.create(mesh.service(number)) for number in range(services))
        await self._in_parallel(self.create(obj) for obj in mesh.rules(services))

    async def _run_pod(self, number: int, endpoint: int) -> None:
        obj, status = mesh.pod(number, endpoint)
        await self.create(obj)
        await self.write("PATCH STATUS", obj, status)

    async def _in_parallel(self, writes: Iterable[Any]) -> None:
        todo = iter(writes)

        async def worker() -> None:
            for write in todo:
                await write

        async with asyncio.TaskGroup() as group:
            for _ in range(_WRITERS):
                group.create_task(worker())


def _collection(obj: Object) -> str:
    version, plural = obj["apiVersion"], _PLURALS[obj["kind"]]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = obj["metadata"].get("namespace")
    return f"{base}/namespaces/{namespace}/{plural}" if namespace else f"{base}/{plural}"
