"""What everything above the store may rely on: list and watch, and writes checked by resourceVersion.

The registry, the compiler and the injector use `list` and `watch` alone, so that a real Kubernetes API server can
stand in the store's place. Objects handed out are shared: a reader never changes one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal, NamedTuple, Protocol

from control.resources.kind import Kind, Object


class WatchEvent(NamedTuple):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


class NotFound(Exception):
    """No such object."""


class AlreadyExists(Exception):
    """An object of that kind, namespace and name is already there."""


class Conflict(Exception):
    """The resourceVersion sent is not the current one."""


class Expired(Exception):
    """The resourceVersion to watch from is older than the history kept; list again."""


class Reader(Protocol):
    async def list(self, kind: Kind, namespace: str | None = None) -> tuple[list[Object], int]:
        """All objects of a kind, ordered by namespace and name, and the resourceVersion of that state."""
        ...

    def watch(self, kind: Kind, since: int, namespace: str | None = None) -> AsyncIterator[WatchEvent]:
        """Every change after `since`, in order, until the caller stops. Raises Expired."""
        ...


class Store(Reader, Protocol):
    """Writes are durable when they return: a killed process loses nothing that was acknowledged."""

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Object: ...

    async def create(self, kind: Kind, obj: Object) -> Object: ...

    async def update(self, kind: Kind, obj: Object) -> Object:
        """Replace an object; raises Conflict when its metadata.resourceVersion is set and not current."""
        ...

    async def delete(self, kind: Kind, namespace: str | None, name: str) -> Object: ...
