"""Events are kept for an hour, as the API server keeps them; otherwise a restarting Pod would fill the store.

Reference: kube-apiserver's --event-ttl.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from control.resources import event
from control.resources.kind import Object
from control.store.interface import NotFound
from control.store.sqlite import SqliteStore

LIFETIME = timedelta(hours=1)
_ROUND_SECONDS = 60.0


def last_seen(obj: Object) -> datetime:
    """When the event last happened, or was created when it does not say."""
    series = obj.get("series") or {}
    text = series.get("lastObservedTime") or obj.get("lastTimestamp") or obj["metadata"]["creationTimestamp"]
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


class EventExpiry:
    """Removes old Events until cancelled."""

    def __init__(self, store: SqliteStore, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._now = now

    async def run(self) -> None:
        while True:
            await self.expire()
            await asyncio.sleep(_ROUND_SECONDS)

    async def expire(self) -> None:
        """One round."""
        oldest = self._now() - LIFETIME
        for obj in (await self._store.list(event.KIND))[0]:
            if last_seen(obj) < oldest:
                meta = obj["metadata"]
                try:
                    await self._store.delete(event.KIND, meta["namespace"], meta["name"])
                except NotFound:
                    pass
