"""Keeps Endpoints and EndpointSlices true to Services and Pods, for `kubectl get endpoints` and `describe service`.

`addresses_of` decides and is pure; the controller writes only what differs. Nothing in the mesh reads these objects:
the registry looks at Services and Pods itself. Reference: k8s.io/kubernetes/pkg/controller/endpoint.
"""

from __future__ import annotations

import asyncio
from typing import Any

from control.resources import endpoints, pod, service
from control.resources.kind import Kind, Object
from control.store.interface import AlreadyExists, Conflict, Expired, NotFound
from control.store.sqlite import SqliteStore

_SETTLE_SECONDS = 0.1  # one update for a burst of Pod changes
_MANAGED_BY = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}


def _is_ready(obj: Object) -> bool:
    conditions = obj.get("status", {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _port_number(target: int | str, obj: Object) -> int | None:
    if isinstance(target, int):
        return target
    for container in obj["spec"]["containers"]:
        for port in container.get("ports") or ():
            if port.get("name") == target:
                return int(port["containerPort"])
    return None


def _backends(svc: Object, pods: list[Object]) -> list[Object]:
    """Pods with an address that the Service selects and that have not ended."""
    selector = svc["spec"]["selector"]
    found = []
    for obj in pods:
        labels = obj["metadata"].get("labels") or {}
        if any(labels.get(key) != value for key, value in selector.items()) or pod.is_terminal(obj):
            continue
        if obj.get("status", {}).get("podIP"):
            found.append(obj)
    return found


def _reference(obj: Object) -> Object:
    meta = obj["metadata"]
    return {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"], "uid": meta["uid"]}


def _ports(svc: Object, example: Object) -> list[dict[str, Any]]:
    ports = []
    for port in svc["spec"].get("ports") or ():
        number = _port_number(port["targetPort"], example)
        if number is not None:
            ports.append({"name": port.get("name", ""), "port": number, "protocol": port["protocol"]})
    return ports


def _meta(svc: Object, name: str, labels: Object) -> Object:
    meta = svc["metadata"]
    owner = {
        "apiVersion": "v1",
        "kind": "Service",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
    }
    own = {**(meta.get("labels") or {}), **labels}
    return {"name": name, "namespace": meta["namespace"], "labels": own, "ownerReferences": [owner]}


def endpoints_of(svc: Object, pods: list[Object]) -> Object:
    """The Endpoints of a Service with a selector."""
    backends = [obj for obj in _backends(svc, pods) if "deletionTimestamp" not in obj["metadata"]]
    subsets = []
    if backends:
        entries: dict[bool, list[Object]] = {True: [], False: []}
        always = bool(svc["spec"].get("publishNotReadyAddresses"))
        for obj in backends:
            address = {
                "ip": obj["status"]["podIP"],
                "nodeName": obj["spec"].get("nodeName", ""),
                "targetRef": _reference(obj),
            }
            entries[always or _is_ready(obj)].append(address)
        subset: Object = {"ports": _ports(svc, backends[0])}
        if entries[True]:
            subset["addresses"] = entries[True]
        if entries[False]:
            subset["notReadyAddresses"] = entries[False]
        subsets.append(subset)
    meta = _meta(svc, svc["metadata"]["name"], {})
    return {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": meta,
        **({"subsets": subsets} if subsets else {}),
    }


def slice_of(svc: Object, pods: list[Object]) -> Object:
    """The EndpointSlice of a Service with a selector; one is enough at this scale."""
    backends = _backends(svc, pods)
    always = bool(svc["spec"].get("publishNotReadyAddresses"))
    items = []
    for obj in backends:
        ready, ending = _is_ready(obj), "deletionTimestamp" in obj["metadata"]
        conditions = {"ready": always or (ready and not ending), "serving": ready, "terminating": ending}
        items.append(
            {
                "addresses": [obj["status"]["podIP"]],
                "conditions": conditions,
                "nodeName": obj["spec"].get("nodeName", ""),
                "targetRef": _reference(obj),
            }
        )
    name = svc["metadata"]["name"]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _meta(svc, f"{name}-glass", {"kubernetes.io/service-name": name, **_MANAGED_BY}),
        "addressType": "IPv4",
        "endpoints": items,
        "ports": _ports(svc, backends[0]) if backends else [],
    }


class EndpointsController:
    """Runs until cancelled."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._notice(service.KIND))
            group.create_task(self._notice(pod.KIND))
            self._wanted.set()
            while True:
                await self._wanted.wait()
                await asyncio.sleep(_SETTLE_SECONDS)
                self._wanted.clear()
                await self.update()

    async def _notice(self, kind: Kind) -> None:
        _, since = await self._store.list(kind)
        while True:
            try:
                async for event in self._store.watch(kind, since):
                    since = int(event.object["metadata"]["resourceVersion"])
                    if event.type != "BOOKMARK":
                        self._wanted.set()
            except Expired:
                _, since = await self._store.list(kind)
                self._wanted.set()

    async def update(self) -> None:
        """Write every object that is not what it should be. The garbage collector removes those of gone Services."""
        services, _ = await self._store.list(service.KIND)
        pods, _ = await self._store.list(pod.KIND)
        by_namespace: dict[str, list[Object]] = {}
        for obj in pods:
            by_namespace.setdefault(obj["metadata"]["namespace"], []).append(obj)
        for svc in services:
            if not svc["spec"].get("selector") or "deletionTimestamp" in svc["metadata"]:
                continue  # without a selector, whoever made the Service makes its endpoints
            near = by_namespace.get(svc["metadata"]["namespace"], [])
            await self._write(endpoints.KIND, endpoints_of(svc, near))
            await self._write(endpoints.SLICE, slice_of(svc, near))

    async def _write(self, kind: Kind, wanted: Object) -> None:
        meta = wanted["metadata"]
        try:
            try:
                old = await self._store.get(kind, meta["namespace"], meta["name"])
            except NotFound:
                await self._store.create(kind, wanted)
                return
            if _without_server_fields(old) != wanted:
                await self._store.update(kind, wanted)
        except (AlreadyExists, Conflict, NotFound):
            self._wanted.set()  # someone wrote in between; look again


def _without_server_fields(obj: Object) -> Object:
    kept = ("name", "namespace", "labels", "ownerReferences")
    return {**obj, "metadata": {key: obj["metadata"][key] for key in kept if key in obj["metadata"]}}
