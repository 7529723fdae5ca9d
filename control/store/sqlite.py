"""The store on one machine: objects in memory for reading, in SQLite for keeping, and a history for watching.

Decides versions, uid, creationTimestamp and generation. Must not know schemas, defaults, owners or finalizers: the
API does. Invariants: one write at a time; versions rise by one; a change is seen by readers and watchers only after it
is on disk, and by all in the same order. Reference: Kubernetes API concepts, "Resource versions" and "Efficient
detection of changes".
"""

from __future__ import annotations

import asyncio
import uuid
from bisect import insort
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from control.resources.kind import Kind, Object
from control.store.history import Change, History
from control.store.interface import AlreadyExists, Conflict, NotFound, WatchEvent
from control.store.table import Key, ObjectTable

# The parts of an object whose change does not count as a new generation.
_NOT_DESIRED_STATE = frozenset({"metadata", "status", "kind", "apiVersion"})


def utc_now() -> str:
    """The time of day as Kubernetes writes it: RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class SqliteStore:
    """`control.store.interface.Store`. Made and used inside one event loop; `close()` it."""

    def __init__(
        self,
        path: Path | None,
        *,
        history: int = 1024,
        bookmark_seconds: float = 30.0,
        now: Callable[[], str] = utc_now,
    ) -> None:
        """`path` None keeps all in memory. A watch that saw nothing for `bookmark_seconds` gets a BOOKMARK."""
        self._table = ObjectTable(path)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._lock = asyncio.Lock()
        self._changed: asyncio.Future[None] | None = None
        self._now = now
        self._history_limit = history
        self._bookmark_seconds = bookmark_seconds
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._order: dict[str, list[tuple[str, str]]] = {}
        self._histories: dict[str, History] = {}
        self.version = self._start = self._table.version()
        for (resource, namespace, name), obj in self._table.rows():
            self._objects.setdefault(resource, {})[namespace, name] = obj
            self._order.setdefault(resource, []).append((namespace, name))

    # Reading ---------------------------------------------------------------------------------------------------

    async def list(self, kind: Kind, namespace: str | None = None) -> tuple[list[Object], int]:
        objects = self._objects.get(kind.resource, {})
        keys = self._order.get(kind.resource, ())
        return [objects[key] for key in keys if namespace is None or key[0] == namespace], self.version

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        found = self._objects.get(kind.resource, {}).get((namespace or "", name))
        if found is None:
            raise NotFound(f'{kind.resource} "{name}" not found')
        return found

    async def watch(self, kind: Kind, since: int, namespace: str | None = None) -> AsyncIterator[WatchEvent]:
        async for change in self.changes(kind, since):
            if isinstance(change, int):
                meta = {"resourceVersion": str(change), "creationTimestamp": None}
                yield WatchEvent(
                    "BOOKMARK", {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta}
                )
            elif namespace is None or change.object["metadata"].get("namespace") == namespace:
                yield WatchEvent(change.type, change.object)

    async def changes(self, kind: Kind, since: int) -> AsyncIterator[Change | int]:
        """Every change to `kind` after version `since`; a bare version when nothing happened for a while."""
        history = self._history(kind.resource)
        while True:
            for change in history.since(since):
                since = change.version
                yield change
            if history.since(since):
                continue  # more came while the caller was busy
            since = max(since, self.version)
            # Not `wait_for`: on Python 3.11 it can lose a cancellation that meets the change it waits for.
            done, _ = await asyncio.wait({self._next_change()}, timeout=self._bookmark_seconds)
            if not done:
                yield since

    def _next_change(self) -> asyncio.Future[None]:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    def _history(self, resource: str) -> History:
        return self._histories.setdefault(resource, History(self._start, self._history_limit))

    # Writing ---------------------------------------------------------------------------------------------------

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Store a new object with a uid, a creationTimestamp and generation 1. Raises AlreadyExists."""
        return await asyncio.shield(self._create(kind, obj))

    async def update(self, kind: Kind, obj: Object) -> Object:
        """Replace an object; raises Conflict when its metadata.resourceVersion is set and not current.

        An update that changes nothing writes nothing and returns the object as it is."""
        return await asyncio.shield(self._update(kind, obj))

    async def delete(
        self, kind: Kind, namespace: str | None, name: str, version: str | None = None
    ) -> Object:
        """Remove an object at once and return its last state. Raises Conflict when `version` is not current."""
        return await asyncio.shield(self._delete(kind, namespace, name, version))

    async def _create(self, kind: Kind, obj: Object) -> Object:
        key = _key(obj)
        async with self._lock:
            if key in self._objects.get(kind.resource, {}):
                raise AlreadyExists(f'{kind.resource} "{key[1]}" already exists')
            meta = dict(obj["metadata"])
            meta["uid"] = str(uuid.uuid4())
            meta["creationTimestamp"] = self._now()
            meta["generation"] = 1
            return await self._commit(kind, "ADDED", {**obj, "metadata": meta}, None)

    async def _update(self, kind: Kind, obj: Object) -> Object:
        namespace, name = _key(obj)
        async with self._lock:
            old = await self.get(kind, namespace, name)
            meta, old_meta = dict(obj["metadata"]), old["metadata"]
            _check_current(kind, old_meta, meta.get("resourceVersion"), meta.get("uid"))
            for name in ("uid", "creationTimestamp", "generation", "resourceVersion"):
                meta[name] = old_meta[name]
            kept = {name: _sharing(part, old.get(name)) for name, part in obj.items() if name != "metadata"}
            # `_commit` changes metadata, so only what is in it may be shared.
            new = {
                **kept,
                "metadata": {name: _sharing(part, old_meta.get(name)) for name, part in meta.items()},
            }
            if new == old:
                return old
            if _desired_state(new) != _desired_state(old):
                new["metadata"]["generation"] = old_meta["generation"] + 1
            return await self._commit(kind, "MODIFIED", new, old)

    async def _delete(self, kind: Kind, namespace: str | None, name: str, version: str | None) -> Object:
        async with self._lock:
            old = await self.get(kind, namespace, name)
            _check_current(kind, old["metadata"], version, None)
            return await self._commit(kind, "DELETED", {**old, "metadata": dict(old["metadata"])}, old)

    async def _commit(
        self, kind: Kind, type_: Literal["ADDED", "MODIFIED", "DELETED"], obj: Object, old: Object | None
    ) -> Object:
        """Write to disk, then to memory, then wake the watchers. `obj["metadata"]` is ours to change."""
        version = self.version + 1
        obj["metadata"]["resourceVersion"] = str(version)
        key = _key(obj)
        write: tuple[Key, Object | None] = ((kind.resource, *key), None if type_ == "DELETED" else obj)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._table.commit, version, [write])
        self.version = version
        history = self._history(kind.resource)
        objects, order = (
            self._objects.setdefault(kind.resource, {}),
            self._order.setdefault(kind.resource, []),
        )
        if type_ == "DELETED":
            del objects[key]
            order.remove(key)
        else:
            objects[key] = obj
            if type_ == "ADDED":
                insort(order, key)
        history.append(Change(version, type_, obj, old))
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None
        return obj

    def close(self) -> None:
        self._thread.shutdown()
        self._table.close()

    def __repr__(self) -> str:
        return f"<SqliteStore version {self.version}, {sum(map(len, self._objects.values()))} objects>"


def _key(obj: Object) -> tuple[str, str]:
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def _sharing(new: Any, old: Any) -> Any:
    """`new`, where each part that `old` has as well is that very part: the history then holds it once, not per version."""
    if new == old:
        return old
    if isinstance(new, dict) and isinstance(old, dict):
        return {name: _sharing(part, old.get(name)) for name, part in new.items()}
    if isinstance(new, list) and isinstance(old, list):
        return [*map(_sharing, new, old), *new[len(old) :]]
    return new


def _desired_state(obj: Object) -> Object:
    return {name: part for name, part in obj.items() if name not in _NOT_DESIRED_STATE}


def _check_current(kind: Kind, meta: Object, version: str | None, uid: str | None) -> None:
    if (version and version != meta["resourceVersion"]) or (uid and uid != meta["uid"]):
        raise Conflict(
            f'Operation cannot be fulfilled on {kind.resource} "{meta["name"]}": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
