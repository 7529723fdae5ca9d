"""Old Events go, recent ones stay."""

from __future__ import annotations

from datetime import UTC, datetime

from control.api.expiry import EventExpiry
from control.resources import event
from control.store.sqlite import SqliteStore


async def test_events_live_an_hour_after_they_were_last_seen() -> None:
    store = SqliteStore(None, now=lambda: "2026-01-01T10:00:00Z")
    times = {
        "old": {"lastTimestamp": "2026-01-01T10:59:00Z"},
        "recent": {"lastTimestamp": "2026-01-01T11:01:00Z"},
        "repeated": {
            "lastTimestamp": "2026-01-01T10:00:00Z",
            "series": {"lastObservedTime": "2026-01-01T11:30:00.5Z"},
        },
        "silent": {},
    }
    for name, fields in times.items():
        await store.create(
            event.KIND, {"metadata": {"name": name, "namespace": "d"}, "involvedObject": {}, **fields}
        )
    await EventExpiry(store, lambda: datetime(2026, 1, 1, 12, tzinfo=UTC)).expire()
    assert [o["metadata"]["name"] for o in (await store.list(event.KIND))[0]] == ["recent", "repeated"]
    store.close()
