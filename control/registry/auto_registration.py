"""Workloads nobody created: a proxy that connects for a pod the store does not know becomes a Pod, as long as it is connected.

Such Pods carry an annotation and name a node of their own, so no node runs them. After a restart of the control plane those whose
proxy does not come back go the same way. Reference: istio's WorkloadEntry auto-registration.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from control.push.proxy import Proxy
from control.registry.objects import ObjectCache
from control.resources import pod
from control.resources.kind import Object
from control.store.interface import AlreadyExists, NotFound, Store

AUTO_REGISTERED = "glassmesh.io/auto-registered"
NODE_NAME = "auto-registered"

log = logging.getLogger(__name__)


def pod_of(proxy: Proxy) -> Object:
    """The Pod a proxy stands for, running and ready at the proxy's address."""
    names = str(proxy.metadata.get("APP_CONTAINERS") or "app").split(",")
    containers: list[Object] = [{"name": name, "image": "auto"} for name in names]
    containers[0]["ports"] = _ports(proxy.metadata.get("POD_PORTS"))
    conditions = [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "ContainersReady")]
    return pod.KIND.default(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": proxy.name,
                "namespace": proxy.namespace,
                "labels": dict(proxy.labels),
                "annotations": {AUTO_REGISTERED: "true"},
            },
            "spec": {
                "serviceAccountName": proxy.service_account,
                "nodeName": NODE_NAME,
                "containers": containers,
            },
            "status": {
                "phase": "Running",
                "podIP": proxy.ip,
                "podIPs": [{"ip": proxy.ip}],
                "conditions": conditions,
                "containerStatuses": [
                    {**container, "imageID": "", "ready": True, "started": True, "restartCount": 0}
                    for container in ({"name": name, "image": "auto"} for name in names)
                ],
            },
        }
    )


def _ports(declared: Any) -> list[Object]:
    """POD_PORTS is the JSON text Istio's injector writes; one that cannot be read declares nothing."""
    try:
        ports = json.loads(declared) if isinstance(declared, str) else declared
        return [dict(port) for port in ports or () if "containerPort" in port]
    except (ValueError, TypeError):
        return []


class AutoRegistration:
    """Creates and deletes such Pods. `connected` tells whether a pod's proxy is there now."""

    def __init__(self, store: Store, cache: ObjectCache, connected: Callable[[str, str], bool]) -> None:
        self._store, self._cache, self._connected = store, cache, connected
        self._tasks: set[asyncio.Task[None]] = set()

    async def arrived(self, proxy: Proxy) -> None:
        """Returns when the proxy has a Pod, at its present address if the Pod is ours."""
        wanted = pod_of(proxy)
        try:
            known = await self._store.get(pod.KIND, proxy.namespace, proxy.name)
        except NotFound:
            await self._create(wanted, proxy)
            return
        if not _ours(known) or known["status"].get("podIP") == proxy.ip:
            return
        meta = {**known["metadata"], "labels": dict(proxy.labels)}
        meta.pop("resourceVersion", None)
        await self._store.update(pod.KIND, {**wanted, "metadata": meta})

    async def _create(self, wanted: Object, proxy: Proxy) -> None:
        try:
            await self._store.create(pod.KIND, wanted)
        except AlreadyExists:
            return  # another request of the same proxy was first
        log.info("registered %s.%s at %s", proxy.name, proxy.namespace, proxy.ip)

    def left(self, proxy: Proxy) -> None:
        """The proxy has gone; its Pod goes too, if it is ours and nobody else stands for it."""
        task = asyncio.get_running_loop().create_task(self._remove(proxy.namespace, proxy.name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _remove(self, namespace: str, name: str) -> None:
        try:
            known = await self._store.get(pod.KIND, namespace, name)
            if _ours(known) and not self._connected(namespace, name):
                await self._store.delete(pod.KIND, namespace, name)
                log.info("unregistered %s.%s", name, namespace)
        except NotFound:
            return

    async def remove_absent(self, after: float) -> None:
        """`after` seconds from now, remove our Pods whose proxy is not there: it left while nobody watched."""
        await asyncio.sleep(after)
        for (namespace, name), obj in list(self._cache.objects(pod.KIND).items()):
            if _ours(obj) and not self._connected(namespace, name):
                await self._remove(namespace, name)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _ours(obj: Object) -> bool:
    return AUTO_REGISTERED in (obj["metadata"].get("annotations") or {})
