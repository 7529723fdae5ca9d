"""The access logs of a side's sidecars, sorted by the case they are about."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from pathlib import Path

from tests.differential.case.group import FIELDS
from tests.differential.case.model import Json
from tests.differential.case.place import Placed

LOG_QUIET_S = 1.3
"""Longer than a sidecar keeps log lines before it writes them: a second."""
ByAddress = dict[str, list[Json]]
"""Log lines by the client's address, and by where the connection came in."""


async def access_logs(roles: dict[str, list[Path]]) -> dict[str, ByAddress]:
    """The lines by role, once nothing more is written to the files."""
    files = [file for of in roles.values() for file in of]
    size, since = -1, time.monotonic()
    while time.monotonic() - since < LOG_QUIET_S:
        total = sum(os.path.getsize(file) for file in files)
        if total != size:
            size, since = total, time.monotonic()
        await asyncio.sleep(0.05)
    return {role: _by_address([line for file in of for line in _parsed(file)]) for role, of in roles.items()}


def _parsed(file: Path) -> list[Json]:
    found = []
    for line in file.read_text(errors="replace").splitlines():
        if line.startswith("LOG\t"):
            found.append(dict(zip(FIELDS, line.split("\t")[1:], strict=True)))
    return found


def _by_address(lines: list[Json]) -> ByAddress:
    found: ByAddress = defaultdict(list)
    for line in lines:
        found[line["direct"].rpartition(":")[0]].append(line)
        found[line["local"]].append(line)
    return found


def of_case(lines: ByAddress, placed: Placed) -> list[Json]:
    """Those from a client address of the case's own, or at its server sidecar."""
    if placed.case.at != "client":
        found = [line for pod in placed.pods for line in lines.get(f"{pod.ip}:{placed.app_port}", ())]
        if found:
            return found
    return [line for address in placed.clients.values() for line in lines.get(address, ())]
