"""The SQLite file: what must survive a killed process, and nothing more.

Decides durability. WAL with synchronous=FULL syncs the log in every commit, so a write that returned is on disk.
Must not know what an object means. Invariant: the stored version is never lower than that of any object ever stored.
Reference: https://www.sqlite.org/wal.html and https://www.sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from control.resources.kind import Object

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counter (id INTEGER PRIMARY KEY CHECK (id = 0), version INTEGER NOT NULL);
INSERT OR IGNORE INTO counter VALUES (0, 1);
"""

Key = tuple[str, str, str]  # resource, namespace ("" for cluster-wide kinds), name


class ObjectTable:
    """One open database. Calls are made one at a time, from whichever thread."""

    def __init__(self, path: Path | None) -> None:
        """Open or create `path`; None keeps everything in memory, for tests."""
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def version(self) -> int:
        row: tuple[int] = self._db.execute("SELECT version FROM counter").fetchone()
        return row[0]

    def rows(self) -> Iterator[tuple[Key, Object]]:
        for resource, namespace, name, body in self._db.execute(
            "SELECT resource, namespace, name, body FROM objects ORDER BY resource, namespace, name"
        ):
            yield (resource, namespace, name), json.loads(body)

    def commit(self, version: int, writes: list[tuple[Key, Object | None]]) -> None:
        """Store or (None) remove objects and set the version, all or nothing, on disk when this returns."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for key, obj in writes:
                if obj is None:
                    self._db.execute(
                        "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ?", key
                    )
                else:
                    body = json.dumps(obj, separators=(",", ":"))
                    self._db.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", (*key, body))
            self._db.execute("UPDATE counter SET version = ?", (version,))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._db.close()
