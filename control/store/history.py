"""What changed to the objects of one kind, lately and in order, so that a watch can begin in the past.

Decides how far back a watch may begin. Knows nothing of SQLite or asyncio.
Invariant: versions rise strictly, and every change later than `floor` is still held.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal, NamedTuple

from control.resources.kind import Object
from control.store.interface import Expired


class Change(NamedTuple):
    """One write: the object after it (its last state, when deleted) and before it (None when created)."""

    version: int
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Object
    previous: Object | None


class History:
    """The last `limit` to `2 * limit` changes; older ones are forgotten in blocks, so appending stays cheap."""

    def __init__(self, floor: int, limit: int) -> None:
        self.floor = floor
        self._limit = limit
        self._versions: list[int] = []
        self._changes: list[Change] = []

    def append(self, change: Change) -> None:
        self._versions.append(change.version)
        self._changes.append(change)
        if len(self._changes) > 2 * self._limit:
            self.floor = self._versions[-self._limit - 1]
            del self._versions[: -self._limit]
            del self._changes[: -self._limit]

    def since(self, version: int) -> list[Change]:
        """Changes later than `version`. Raises Expired when some of them are forgotten."""
        if version < self.floor:
            raise Expired(f"too old resource version: {version} ({self.floor})")
        return self._changes[bisect_right(self._versions, version) :]

    def __repr__(self) -> str:
        return f"<History {len(self._changes)} changes after {self.floor}>"
