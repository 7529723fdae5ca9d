"""Which pods run on this machine: starts a worker for each the API holds, stops it when it is to go.

Level-triggered: every change of a pod only says "look at it again". A pod without a node is assigned to this one, the only
one there is. Reference: kube-scheduler and the kubelet's sync loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from node.api_client import PODS, ApiAway, ApiError, Object
from node.cache import Cache, Key
from node.pod_worker import Machine, PodWorker

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
NOT_FOUND, CONFLICT = 404, 409


class Pods:
    """All pods of the machine."""

    def __init__(self, machine: Machine, cache: Cache) -> None:
        self._machine = machine
        self._cache = cache
        self._workers: dict[Key, PodWorker] = {}
        self._runs: dict[Key, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy: set[Key] = set()  # being assigned or stopped
        self._ended: dict[Key, str] = {}  # uids of pods that are over, until the watch has said so
        cache.listen(self._look_at)

    def __repr__(self) -> str:
        return f"<Pods {len(self._workers)}>"

    @property
    def workers(self) -> list[PodWorker]:
        return list(self._workers.values())

    def worker(self, key: Key) -> PodWorker | None:
        return self._workers.get(key)

    def refresh_volumes(self, source: Key) -> None:
        """A ConfigMap or Secret changed: the pods of its namespace may hold it."""
        for (namespace, _), worker in self._workers.items():
            if namespace == source[0]:
                worker.refresh_volumes()

    async def stop_all(self, grace: float) -> None:
        await asyncio.gather(*(self._stop(key, grace) for key in list(self._workers)))

    def _look_at(self, key: Key) -> None:
        """Decides what one pod needs now."""
        if key in self._busy:
            return
        pod = self._cache.get(key)
        if pod is None or self._ended.get(key) != pod["metadata"]["uid"]:
            self._ended.pop(key, None)
        else:
            return
        worker = self._workers.get(key)
        replaced = worker and pod and worker.pod["metadata"]["uid"] != pod["metadata"]["uid"]
        if worker and (pod is None or replaced):
            self._begin(key, self._stop(key, _grace(worker.pod)))
        elif pod and pod["metadata"].get("deletionTimestamp"):
            self._begin(key, self._end(key, pod))
        elif pod and worker is None and not _over(pod):
            self._begin(key, self._start(key, pod))
        elif pod and worker and _told(pod) != _told(worker.pod):
            worker.update(pod)

    def _begin(self, key: Key, work: Awaitable[None]) -> None:
        self._busy.add(key)
        task = asyncio.ensure_future(self._finish(key, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, key: Key, work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            self._busy.discard(key)
        self._look_at(key)  # what changed meanwhile

    async def _start(self, key: Key, pod: Object) -> None:
        if not pod["spec"].get("nodeName"):
            assigned = await self._assign(key)
            if assigned is None:
                return
            pod = assigned
        worker = self._workers[key] = PodWorker(self._machine, pod)
        self._runs[key] = asyncio.create_task(worker.run())
        self._runs[key].add_done_callback(_report)

    async def _assign(self, key: Key) -> Object | None:
        """Binds the pod to this node; None when it is gone."""
        namespace, name = key
        while True:
            try:
                pod = await self._machine.api.patch(
                    PODS, namespace, name, {"spec": {"nodeName": self._machine.node_name}}
                )
            except ApiAway:
                await asyncio.sleep(RETRY_SECONDS)
            except ApiError as error:
                if error.status != NOT_FOUND:
                    log.warning("cannot assign %s/%s: %s", namespace, name, error)
                    await asyncio.sleep(RETRY_SECONDS)
                return None
            else:
                text = f"Successfully assigned {namespace}/{name} to {self._machine.node_name}"
                self._machine.events.normal(pod, "Pod", "Scheduled", text)
                self._cache.put(pod)
                return pod

    async def _end(self, key: Key, pod: Object) -> None:
        """Stops a pod marked for deletion, and tells the API that nothing of it is left."""
        await self._stop(key, _grace(pod))
        namespace, name = key
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        self._ended[key] = pod["metadata"]["uid"]
        while True:
            try:
                await self._machine.api.delete(PODS, namespace, name, options)
                return
            except ApiAway:
                await asyncio.sleep(RETRY_SECONDS)
            except ApiError as error:
                if error.status not in (NOT_FOUND, CONFLICT):
                    log.warning("cannot delete %s/%s: %s", namespace, name, error)
                return

    async def _stop(self, key: Key, grace: float) -> None:
        worker = self._workers.pop(key, None)
        if worker is None:
            return
        run = self._runs.pop(key)
        run.cancel()  # no further container starts
        await asyncio.gather(run, return_exceptions=True)
        await worker.stop(grace)
        self._machine.logs.remove_pod(*key)


def _grace(pod: Object) -> float:
    given = pod["metadata"].get("deletionGracePeriodSeconds")
    return float(pod["spec"].get("terminationGracePeriodSeconds", 30) if given is None else given)


def _told(pod: Object) -> Object:
    """What a running pod's downward API volumes tell of it and may change."""
    return {field: pod["metadata"].get(field) for field in ("labels", "annotations")}


def _over(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _report(run: asyncio.Task[None]) -> None:
    if not run.cancelled() and (error := run.exception()) is not None:
        log.error("a pod's worker failed", exc_info=error)
