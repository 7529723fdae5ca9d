"""Carries out what `rollout` and `replicas` decide: creates ReplicaSets and Pods, scales, deletes, writes status.

Level-triggered: any change of a Deployment, ReplicaSet or Pod queues the Deployment and ReplicaSet it belongs to, and one look at the
whole decides. What was created or deleted a moment ago counts before the watch has said so. Deleting what has lost its
owner is the API's work. Reference: kube-controller-manager.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os

from node.api_client import DEPLOYMENTS, PODS, REPLICA_SETS, ApiAway, ApiClient, ApiError, Object
from node.cache import Cache, Key, key_of
from node.controllers import replicas, rollout
from node.events import Events, now

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
NOT_FOUND, CONFLICT = 404, 409

Item = tuple[str, Key]  # "Deployment" or "ReplicaSet", and which


class Workloads:
    """The deployment and replica set controllers."""

    def __init__(
        self, api: ApiClient, events: Events, deployments: Cache, replica_sets: Cache, pods: Cache
    ) -> None:
        self._api = api
        self._events = events
        self._deployments = deployments
        self._replica_sets = replica_sets
        self._pods = pods
        self._queue: dict[Item, None] = {}  # in order, each once
        self._wake = asyncio.Event()
        self._expected: dict[
            str, set[str]
        ] = {}  # uid of a ReplicaSet: names created or deleted, not yet seen
        deployments.listen(lambda key: self._add(("Deployment", key)))
        replica_sets.listen(self._replica_set_changed)
        pods.listen(self._pod_changed)

    def __repr__(self) -> str:
        return f"<Workloads {len(self._queue)} to look at>"

    async def run(self) -> None:
        """Looks at what was queued until cancelled."""
        for cache in (self._deployments, self._replica_sets, self._pods):
            await cache.synced.wait()
        while True:
            await self._wake.wait()
            self._wake.clear()
            items, self._queue = self._queue, {}
            for item in items:
                await self._look(item)

    async def _look(self, item: Item) -> None:
        kind, key = item
        try:
            await (self._deployment(key) if kind == "Deployment" else self._replica_set(key))
        except (ApiAway, ApiError) as error:
            if not isinstance(error, ApiError) or error.status not in (NOT_FOUND, CONFLICT):
                log.info("%s %s: %s", kind, "/".join(key), error)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._add, item)

    # Which object a change concerns.

    def _add(self, item: Item) -> None:
        self._queue[item] = None
        self._wake.set()

    def _replica_set_changed(self, key: Key) -> None:
        self._add(("ReplicaSet", key))
        replica_set = self._replica_sets.get(key)
        owners = [replica_set] if replica_set else []
        names = {ref["name"] for obj in owners for ref in _owners(obj)} or {key[1].rpartition("-")[0]}
        for name in names:
            self._add(("Deployment", (key[0], name)))

    def _pod_changed(self, key: Key) -> None:
        owner = key[1].rpartition("-")[0]  # pods of a ReplicaSet carry its name
        for expected in self._expected.values():
            expected.discard(key[1])
        self._add(("ReplicaSet", (key[0], owner)))
        self._add(("Deployment", (key[0], owner.rpartition("-")[0])))

    def _owned(self, cache: Cache, owner: Object) -> list[Object]:
        namespace, uid = owner["metadata"]["namespace"], owner["metadata"]["uid"]
        return [
            obj
            for obj in cache
            if obj["metadata"]["namespace"] == namespace and any(ref["uid"] == uid for ref in _owners(obj))
        ]

    # One Deployment.

    async def _deployment(self, key: Key) -> None:
        deployment = self._deployments.get(key)
        if deployment is None or deployment["metadata"].get("deletionTimestamp"):
            return
        owned = self._owned(self._replica_sets, deployment)
        name = f"{key[1]}-{rollout.template_hash(deployment['spec']['template'])}"
        new = next((rs for rs in owned if rs["metadata"]["name"] == name), None)
        latest = max((rollout.revision(rs) for rs in owned), default=0)
        if new is None:
            made = rollout.new_replica_set(deployment, latest + 1)
            new = await self._api.create(REPLICA_SETS, key[0], made)
            self._replica_sets.put(new)
        elif rollout.revision(new) < latest:  # rolled back to
            await self._set_revision(REPLICA_SETS, new, latest + 1)
        old = [rs for rs in owned if rs["metadata"]["name"] != name]
        await self._set_revision(DEPLOYMENTS, deployment, max(latest, rollout.revision(new)))
        await self._scale(deployment, new, old)
        await self._forget(deployment, old)

    async def _scale(self, deployment: Object, new: Object, old: list[Object]) -> None:
        moment = datetime.datetime.now(datetime.UTC)
        of_new, *of_old = [replicas.count(rs, self._owned(self._pods, rs), moment) for rs in (new, *old)]
        size, sizes = rollout.scale(deployment, of_new, of_old)
        for replica_set, wanted in zip((new, *old), (size, *sizes), strict=True):
            if int(replica_set["spec"]["replicas"]) != wanted:
                await self._resize(deployment, replica_set, wanted)
        status = rollout.status(deployment, of_new, of_old, now())
        if status != {k: v for k, v in (deployment.get("status") or {}).items() if k in status}:
            namespace, name = key_of(deployment)
            self._deployments.put(
                await self._api.patch(DEPLOYMENTS, namespace, name, {"status": status}, "status")
            )

    async def _resize(self, deployment: Object, replica_set: Object, size: int) -> None:
        before = int(replica_set["spec"]["replicas"])
        namespace, name = key_of(replica_set)
        changed = await self._api.patch(REPLICA_SETS, namespace, name, {"spec": {"replicas": size}})
        self._replica_sets.put(changed)
        text = f"Scaled {'up' if size > before else 'down'} replica set {name} from {before} to {size}"
        self._events.normal(deployment, "Deployment", "ScalingReplicaSet", text)

    async def _set_revision(self, resource: object, obj: Object, number: int) -> None:
        if rollout.revision(obj) == number:
            return
        where = REPLICA_SETS if resource is REPLICA_SETS else DEPLOYMENTS
        cache = self._replica_sets if resource is REPLICA_SETS else self._deployments
        patch = {"metadata": {"annotations": {rollout.REVISION: str(number)}}}
        cache.put(await self._api.patch(where, *key_of(obj), patch))

    async def _forget(self, deployment: Object, old: list[Object]) -> None:
        """Deletes empty old ReplicaSets beyond the history that is kept."""
        empty = [rs for rs in old if not rs["spec"]["replicas"] and not self._owned(self._pods, rs)]
        empty.sort(key=rollout.revision)
        limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
        for replica_set in empty[: max(0, len(empty) - limit)]:
            await self._api.delete(REPLICA_SETS, *key_of(replica_set))

    # One ReplicaSet.

    async def _replica_set(self, key: Key) -> None:
        replica_set = self._replica_sets.get(key)
        if replica_set is None or replica_set["metadata"].get("deletionTimestamp"):
            return
        pods = self._owned(self._pods, replica_set)
        uid = replica_set["metadata"]["uid"]
        if not self._expected.get(uid):
            self._expected.pop(uid, None)
            for pod in replicas.surplus(replica_set, pods):
                await self._delete_pod(replica_set, pod)
            for _ in range(replicas.lacking(replica_set, pods)):
                await self._create_pod(replica_set)
        status = replicas.status(
            replica_set, replicas.count(replica_set, pods, datetime.datetime.now(datetime.UTC))
        )
        if status != {k: v for k, v in (replica_set.get("status") or {}).items() if k in status}:
            self._replica_sets.put(await self._api.patch(REPLICA_SETS, *key, {"status": status}, "status"))

    async def _create_pod(self, replica_set: Object) -> None:
        pod = replicas.new_pod(replica_set, rollout.suffix(os.urandom(5)))
        namespace, name = key_of(pod)
        try:
            created = await self._api.create(PODS, namespace, pod)
        except ApiError as error:
            self._events.warning(replica_set, "ReplicaSet", "FailedCreate", f"Error creating: {error}")
            raise
        self._events.normal(replica_set, "ReplicaSet", "SuccessfulCreate", f"Created pod: {name}")
        self._pods.put(created)

    async def _delete_pod(self, replica_set: Object, pod: Object) -> None:
        namespace, name = key_of(pod)
        self._expected.setdefault(replica_set["metadata"]["uid"], set()).add(name)
        try:
            await self._api.delete(PODS, namespace, name)
        except ApiError:
            self._expected[replica_set["metadata"]["uid"]].discard(name)
            raise
        self._events.normal(replica_set, "ReplicaSet", "SuccessfulDelete", f"Deleted pod: {name}")


def _owners(obj: Object) -> list[Object]:
    return obj["metadata"].get("ownerReferences") or []
