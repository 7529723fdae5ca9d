"""A store in memory, and one on disk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from control.store.sqlite import SqliteStore


@pytest.fixture
async def store() -> Iterator[SqliteStore]:
    made = SqliteStore(None)
    yield made
    made.close()
