"""Keeps Endpoints and EndpointSlices true to Services and Pods, for `kubectl get endpoints` and `describe service`.

`addresses_of` decides and is pure; the controller writes only what differs. Nothing in the mesh reads these objects:
the registry looks at Services and Pods itself. Reference: k8s.io/kubernetes/pkg/controller/endpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
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


_Key = tuple[str, str]  # namespace and name


class EndpointsController:
    """Runs until cancelled. After a change it looks only at the Services it may concern."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._wanted = asyncio.Event()
        self._selecting: dict[tuple[str, tuple[str, str]], set[_Key]] = {}
        self._selectors: dict[_Key, tuple[str, str]] = {}  # the one label a Service is filed under
        self._labelled: dict[tuple[str, tuple[str, str]], dict[str, Object]] = {}  # Pods by each label
        self._pods: dict[_Key, Object] = {}
        self._due: set[_Key] = set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._notice(service.KIND, self._saw_service))
            group.create_task(self._notice(pod.KIND, self._saw_pod))
            while True:
                await self._wanted.wait()
                await asyncio.sleep(_SETTLE_SECONDS)
                self._wanted.clear()
                await self.update()

    async def _notice(self, kind: Kind, saw: Callable[[Object, bool], None]) -> None:
        """Tells `saw` of every object and whether it is gone; one that went while nobody watched, when that is found out."""
        known: dict[_Key, Object] = {}
        while True:
            objects, since = await self._store.list(kind)
            now = {_key(obj): obj for obj in objects}
            for key, obj in known.items():
                if key not in now:
                    saw(obj, True)
            for obj in objects:
                saw(obj, False)
            known = now
            self._wanted.set()
            try:
                async for event in self._store.watch(kind, since):
                    if event.type == "BOOKMARK":
                        continue
                    gone = event.type == "DELETED"
                    if gone:
                        known.pop(_key(event.object), None)
                    else:
                        known[_key(event.object)] = event.object
                    saw(event.object, gone)
                    self._wanted.set()
            except Expired:
                continue

    def _saw_service(self, svc: Object, gone: bool) -> None:
        key = _key(svc)
        filed = self._selectors.pop(key, None)
        if filed is not None:
            self._selecting[key[0], filed].discard(key)
        selector = svc["spec"].get("selector")
        if gone or not selector:
            return
        label = min(selector.items())
        self._selectors[key] = label
        self._selecting.setdefault((key[0], label), set()).add(key)
        self._due.add(key)

    def _saw_pod(self, obj: Object, gone: bool) -> None:
        key = _key(obj)
        before = self._pods.pop(key, None)
        if before is not None:
            for label in _labels(before):
                alike = self._labelled[key[0], label]
                alike.pop(key[1], None)
                if not alike:
                    del self._labelled[key[0], label]
            self._concerns(before)
        if not gone:
            self._pods[key] = obj
            for label in _labels(obj):
                self._labelled.setdefault((key[0], label), {})[key[1]] = obj
            self._concerns(obj)

    def _concerns(self, obj: Object) -> None:
        namespace = obj["metadata"]["namespace"]
        for label in _labels(obj):
            self._due |= self._selecting.get((namespace, label), set())

    async def update(self) -> None:
        """Write every object that is not what it should be. The garbage collector removes those of gone Services."""
        while self._due:
            namespace, name = self._due.pop()
            try:
                svc = await self._store.get(service.KIND, namespace, name)
            except NotFound:
                continue
            label = self._selectors.get((namespace, name))
            if label is None or "deletionTimestamp" in svc["metadata"]:
                continue  # without a selector, whoever made the Service makes its endpoints
            found = self._labelled.get((namespace, label), {})
            near = [found[pod_name] for pod_name in sorted(found)]
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
            self._due.add((meta["namespace"], _service_of(wanted)))
            self._wanted.set()  # someone wrote in between; look again


def _without_server_fields(obj: Object) -> Object:
    kept = ("name", "namespace", "labels", "ownerReferences")
    return {**obj, "metadata": {key: obj["metadata"][key] for key in kept if key in obj["metadata"]}}


def _service_of(wanted: Object) -> str:
    return str(wanted["metadata"]["ownerReferences"][0]["name"])


def _key(obj: Object) -> _Key:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _labels(obj: Object) -> Iterable[tuple[str, str]]:
    labels: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return labels.items()
