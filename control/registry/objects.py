"""A copy of the store's objects, kept current by list and watch.

Knows kinds only by their names. Invariant: after `ready`, `objects` shows every change the store has told, in order; `on_change` is called
after each. A watch that is too far behind starts over with a list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from control.resources.kind import Kind, Object
from control.store.interface import Expired, Reader

Key = tuple[str, str]  # namespace ("" for none) and name


def key_of(obj: Object) -> Key:
    meta = obj["metadata"]
    return (meta.get("namespace") or "", meta["name"])


class ObjectCache:
    """Objects by kind. `run` it; wait for `ready`."""

    def __init__(
        self, reader: Reader, kinds: Iterable[Kind], on_change: Callable[[Kind], None] | None = None
    ) -> None:
        self._reader = reader
        self._kinds = tuple(kinds)
        self.on_change = on_change
        self._objects: dict[str, dict[Key, Object]] = {kind.resource: {} for kind in self._kinds}
        self._revisions: dict[str, int] = {kind.resource: 0 for kind in self._kinds}
        self._listed: set[str] = set()
        self.ready = asyncio.Event()

    def objects(self, kind: Kind) -> Mapping[Key, Object]:
        return self._objects[kind.resource]

    def revision(self, kind: Kind) -> int:
        """Rises with every change to a kind."""
        return self._revisions[kind.resource]

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in self._kinds:
                group.create_task(self._follow(kind), name=f"follow {kind.resource}")

    async def _follow(self, kind: Kind) -> None:
        while True:
            version = await self._list(kind)
            try:
                async for event in self._reader.watch(kind, version):
                    if event.type == "BOOKMARK":
                        continue
                    self._take(kind, event.object, event.type == "DELETED")
            except Expired:
                continue
            return  # the store has closed

    async def _list(self, kind: Kind) -> int:
        found, version = await self._reader.list(kind)
        self._objects[kind.resource] = {key_of(obj): obj for obj in found}
        self._listed.add(kind.resource)
        if len(self._listed) == len(self._kinds):
            self.ready.set()
        self._changed(kind)
        return version

    def _take(self, kind: Kind, obj: Object, deleted: bool) -> None:
        if deleted:
            self._objects[kind.resource].pop(key_of(obj), None)
        else:
            self._objects[kind.resource][key_of(obj)] = obj
        self._changed(kind)

    def _changed(self, kind: Kind) -> None:
        self._revisions[kind.resource] += 1
        if self.on_change is not None:
            self.on_change(kind)
