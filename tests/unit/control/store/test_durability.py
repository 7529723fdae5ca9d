"""A writer killed at any moment loses nothing it had acknowledged."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from pathlib import Path

from control.resources.kind import Kind
from control.store.sqlite import SqliteStore

CONFIG = Kind("", ("v1",), "ConfigMap", "configmaps")

# Creates objects named by a rising number, deletes every third, and acknowledges each on stdout once it is done.
WRITER = """
import asyncio, sys
from pathlib import Path
from control.resources.kind import Kind
from control.store.sqlite import SqliteStore
kind = Kind("", ("v1",), "ConfigMap", "configmaps")
async def main():
    store = SqliteStore(Path(sys.argv[1]))
    number = int(sys.argv[2])
    while True:
        number += 1
        name = f"n{number}"
        await store.create(kind, {"metadata": {"name": name, "namespace": "d"}})
        print("created", number, store.version, flush=True)
        if number % 3 == 0:
            await store.delete(kind, "d", name)
            print("deleted", number, store.version, flush=True)
asyncio.run(main())
"""


def test_kill_dash_nine_loses_no_acknowledged_write(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    expected: set[int] = set()
    number = version = 0
    for round_ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(random.Random(round_).randint(5, 60)):
            word, text, at = process.stdout.readline().split()
            number, version = int(text), int(at)
            (expected.add if word == "created" else expected.discard)(number)
        process.kill()
        rest, _ = process.communicate()
        for line in rest.splitlines():
            if len(parts := line.split()) == 3 and line.startswith(("created", "deleted")):
                number, version = int(parts[1]), int(parts[2])
                (expected.add if parts[0] == "created" else expected.discard)(number)
        found, stored_version = asyncio.run(read(path))
        # The write in flight may be there or not; every acknowledged one is, and nothing else.
        assert found ^ expected <= {number, number + 1}
        assert stored_version >= version
        expected, number, version = found, max(found | {number}), stored_version


async def read(path: Path) -> tuple[set[int], int]:
    store = SqliteStore(path)
    objects, version = await store.list(CONFIG)
    store.close()
    return {int(o["metadata"]["name"][1:]) for o in objects}, version
