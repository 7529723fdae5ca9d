"""A watch: the changes a client asked for, as it sees them through its selectors.

An object that begins to match is ADDED for the client, one that no longer does is DELETED.
Reference: Kubernetes API concepts, "Efficient detection of changes".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from control.resources.kind import Kind, Object
from control.resources.selectors import Predicate
from control.store.history import Change
from control.store.interface import WatchEvent
from control.store.sqlite import SqliteStore

INITIAL_EVENTS_END = "k8s.io/initial-events-end"


def seen(change: Change, selected: Predicate) -> WatchEvent | None:
    """A change as seen through a selector; None when it concerns nothing selected."""
    before = change.previous is not None and selected(change.previous)
    if change.type == "DELETED" or (before and not selected(change.object)):
        return WatchEvent("DELETED", change.object) if before else None
    if not selected(change.object):
        return None
    return WatchEvent("MODIFIED" if before else "ADDED", change.object)


def bookmark(kind: Kind, version: int, *, initial_end: bool = False) -> WatchEvent:
    meta: Object = {"resourceVersion": str(version), "creationTimestamp": None}
    if initial_end:
        meta["annotations"] = {INITIAL_EVENTS_END: "true"}
    return WatchEvent("BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta})


async def events(
    store: SqliteStore,
    kind: Kind,
    since: int | None,
    selected: Predicate,
    *,
    bookmarks: bool,
    initial_end: bool = False,
) -> AsyncIterator[WatchEvent]:
    """Changes after `since`; from None, first what is there now as ADDED. Raises Expired."""
    if since is None:
        objects, since = await store.list(kind)
        for obj in filter(selected, objects):
            yield WatchEvent("ADDED", obj)
        if initial_end:
            yield bookmark(kind, since, initial_end=True)
    async for change in store.changes(kind, since):
        if isinstance(change, int):
            if bookmarks:
                yield bookmark(kind, change)
        elif (event := seen(change, selected)) is not None:
            yield event


def in_scope(namespace: str | None, *predicates: Callable[[Object], bool]) -> Predicate:
    """Objects of a namespace (None: of all) that meet every predicate."""
    return lambda obj: (
        (namespace is None or obj["metadata"].get("namespace") == namespace)
        and all(predicate(obj) for predicate in predicates)
    )
