"""A control plane process of the bench's own, and its API as a client sees it."""

from __future__ import annotations

import base64
import json
import ssl
import sys
import uuid
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
from control.resources import destination_rule, namespace, pod, service, virtual_service
from control.store.sqlite import utc_now
from control.store.table import ObjectTable

GATEWAY = "169.254.77.1"  # where sidecars in namespaces of their own find it
_KINDS = {
    module.KIND.kind: module.KIND for module in (namespace, service, pod, virtual_service, destination_rule)
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


def start(children: Children, directory: Path, services: int, endpoints: int) -> Plane:
    """A control plane whose store holds a mesh of this size. Raises ChildDied or TimeoutError with what it said."""
    state = directory / "state"
    (state / "control").mkdir(parents=True)
    _fill(state / "control/store.sqlite", mesh.objects(services, endpoints))
    api, *others = free_ports(5)
    options = ("--xds-port", "--secure-port", "--monitoring-port", "--webhook-port")
    words = [word for name, port in zip(options, others, strict=True) for word in (name, str(port))]
    argv = [sys.executable, "-m", "control", "--state", str(state), "--api-address", f"127.0.0.1:{api}"]
    child = children.start("control", [*argv, *words, "--name", GATEWAY], env=ENVIRONMENT)
    found = state / "control/ports.json"
    wait_until("the control plane serves", lambda: found.exists() and bool(found.read_text()), [child])
    return Plane(child, state, json.loads(found.read_text()))


def _fill(path: Path, objects: Iterable[Object]) -> None:
    """As if every object had been written through the API long ago."""
    table = ObjectTable(path)
    writes: list[tuple[tuple[str, str, str], Object | None]] = []
    for version, obj in enumerate(objects, table.version() + 1):
        kind = _KINDS[obj["kind"]]
        made = kind.default(obj)
        meta = {**made["metadata"], "uid": str(uuid.uuid4()), "creationTimestamp": utc_now()}
        meta |= {"generation": 1, "resourceVersion": str(version)}
        key = (kind.resource, meta.get("namespace", ""), meta["name"])
        writes.append((key, {**made, "metadata": meta}))
    table.commit(table.version() + len(writes), writes)
    table.close()


class Api:
    """Writes objects; a write that returned is stored."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._tokens: dict[tuple[str, str], str] = {}
        tls = ssl.create_default_context(cadata=plane.root_certificate)
        self._session = aiohttp.ClientSession(
            f"https://127.0.0.1:{plane.ports['api']}",
            connector=aiohttp.TCPConnector(ssl=tls, limit=4),
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
        """A service account's token for the control plane; the account is made when it is first asked for."""
        known = self._tokens.get((namespace, account))
        if known is None:
            known = self._tokens[namespace, account] = await self._new_token(namespace, account)
        return known

    async def _new_token(self, namespace: str, account: str) -> str:
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


def _collection(obj: Object) -> str:
    version, plural = obj["apiVersion"], _KINDS[obj["kind"]].plural
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    return f"{base}/namespaces/{obj['metadata']['namespace']}/{plural}"
