"""What must go because something else went: dependents of deleted owners, and the contents of deleted Namespaces.

Level-triggered: every round looks at the whole state, so a round missed by a crash is made up by the next.
Decides what to delete; `Writer` decides how. Reference: Kubernetes' "Garbage Collection", "Use Cascading Deletion".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from control.api.deletion import FOREGROUND, ORPHAN, DeleteOptions
from control.api.errors import ApiError
from control.api.request_info import RequestInfo
from control.api.write import WriteOptions, Writer
from control.resources import namespace as namespaces
from control.resources.kind import Kind, Object
from control.store.interface import Expired, NotFound
from control.store.sqlite import SqliteStore

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0  # after a round that met a concurrent writer
_PAUSE = 10  # times as long as the round before took: no more than a tenth of the time goes into them

Dependents = dict[str, list[tuple[Kind, Object]]]  # by the uid of an owner


class GarbageCollector:
    """Runs rounds until cancelled."""

    def __init__(self, store: SqliteStore, writer: Writer, kinds: Sequence[Kind]) -> None:
        self._store = store
        self._writer = writer
        self._kinds = kinds
        self._wanted = asyncio.Event()

    async def run(self) -> None:
        loop, took = asyncio.get_running_loop(), 0.0
        async with asyncio.TaskGroup() as group:
            for kind in self._kinds:
                group.create_task(self._notice(kind))
            self._wanted.set()
            while True:
                await self._wanted.wait()
                # A round looks at everything: a burst of changes shares one, and rounds leave the loop to others.
                await asyncio.sleep(took * _PAUSE)
                self._wanted.clear()
                begun = loop.time()
                try:
                    await self.collect()
                    took = loop.time() - begun
                except ApiError as exc:
                    log.info("garbage collection will try again: %s", exc)
                    await asyncio.sleep(_RETRY_SECONDS)
                    self._wanted.set()

    async def _notice(self, kind: Kind) -> None:
        """Ask for a round after a change that may leave something to collect."""
        _, since = await self._store.list(kind)
        while True:
            try:
                async for event in self._store.watch(kind, since):
                    since = int(event.object["metadata"]["resourceVersion"])
                    meta = event.object["metadata"]
                    going = event.type == "DELETED" or "deletionTimestamp" in meta
                    if going or (event.type == "ADDED" and meta.get("ownerReferences")):
                        self._wanted.set()
            except Expired:
                _, since = await self._store.list(kind)
                self._wanted.set()

    async def collect(self) -> None:
        """One round."""
        present: set[str] = set()
        dependents: Dependents = {}
        going: list[tuple[Kind, Object]] = []
        for kind in self._kinds:
            for obj in (await self._store.list(kind))[0]:
                meta = obj["metadata"]
                present.add(meta["uid"])
                for owner in meta.get("ownerReferences") or ():
                    dependents.setdefault(owner["uid"], []).append((kind, obj))
                if "deletionTimestamp" in meta:
                    going.append((kind, obj))
        steps = [
            self._collect_orphans(owned, present) for uid, owned in dependents.items() if uid not in present
        ]
        steps += [self._let_end(kind, obj, dependents.get(obj["metadata"]["uid"], [])) for kind, obj in going]
        refused: ApiError | None = None
        for step in steps:
            try:
                await step
            except ApiError as exc:
                refused = exc  # one object that cannot go yet keeps no other from going
        if refused is not None:
            raise refused

    async def _let_end(self, kind: Kind, obj: Object, owned: list[tuple[Kind, Object]]) -> None:
        """One step of an object's way out."""
        if kind.resource == namespaces.KIND.resource:
            await self._empty_namespace(obj)
        await self._finish(kind, obj, owned)

    async def _collect_orphans(self, owned: list[tuple[Kind, Object]], present: set[str]) -> None:
        for kind, obj in owned:
            owners = obj["metadata"].get("ownerReferences") or ()
            if not any(owner["uid"] in present for owner in owners):
                await self._delete(kind, obj)

    async def _finish(self, kind: Kind, obj: Object, owned: list[tuple[Kind, Object]]) -> None:
        """Let go of an owner marked for foreground or orphaning deletion, once its dependents are dealt with."""
        finalizers = obj["metadata"].get("finalizers") or []
        if ORPHAN in finalizers:
            for of_kind, dependent in owned:
                await self._disown(of_kind, dependent, obj["metadata"]["uid"])
            await self._let_go(kind, obj, ORPHAN)
        elif FOREGROUND in finalizers:
            for of_kind, dependent in owned:
                await self._delete(
                    of_kind, dependent, "Foreground" if of_kind.resource != "pods" else "Background"
                )
            if not any(_blocks(dependent, obj["metadata"]["uid"]) for _, dependent in owned):
                await self._let_go(kind, obj, FOREGROUND)

    async def _disown(self, kind: Kind, obj: Object, uid: str) -> None:
        owners = [owner for owner in obj["metadata"]["ownerReferences"] if owner["uid"] != uid]
        meta = {**obj["metadata"], "ownerReferences": owners}
        await self._writer.replace(_info(kind, obj), {**obj, "metadata": meta}, _OPTIONS)

    async def _let_go(self, kind: Kind, obj: Object, finalizer: str) -> None:
        left = [name for name in obj["metadata"]["finalizers"] if name != finalizer]
        meta = {**obj["metadata"], "finalizers": left}
        await self._writer.replace(_info(kind, obj), {**obj, "metadata": meta}, _OPTIONS)

    async def _empty_namespace(self, space: Object) -> None:
        """Delete what is in a Namespace; when nothing is left, the Namespace itself."""
        name, left = space["metadata"]["name"], 0
        for kind in self._kinds:
            if not kind.namespaced:
                continue
            for obj in (await self._store.list(kind, name))[0]:
                left += not await self._delete(kind, obj)
        if left or space["metadata"].get("finalizers"):
            return
        try:
            await self._store.delete(namespaces.KIND, None, name)
        except NotFound:
            pass

    async def _delete(self, kind: Kind, obj: Object, propagation: str = "Background") -> bool:
        """Whether it is gone; an object already on its way out is left to whoever holds it."""
        if "deletionTimestamp" in obj["metadata"]:
            return False
        options = DeleteOptions(propagation=propagation, uid=obj["metadata"]["uid"])
        try:
            return (await self._writer.delete(_info(kind, obj), options))[1]
        except ApiError as exc:
            if exc.code == 404:
                return True
            raise


_OPTIONS = WriteOptions(manager="garbage-collector")


def _info(kind: Kind, obj: Object) -> RequestInfo:
    meta = obj["metadata"]
    return RequestInfo(kind, kind.versions[0], meta.get("namespace"), meta["name"], None)


def _blocks(dependent: Object, uid: str) -> bool:
    owners = dependent["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)
