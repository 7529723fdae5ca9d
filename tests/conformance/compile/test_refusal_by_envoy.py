"""Envoy's REST client says nothing when it refuses: it goes on asking with the version before. That must count as a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from control.compile.cluster import black_hole_cluster
from control.compile.protobuf import CLUSTER
from control.push.static import StaticXds

pytestmark = pytest.mark.envoy


async def test_a_refused_version_is_known_and_not_sent_again(
    xds: StaticXds, start_envoy: Callable[[str], Awaitable[Any]]
) -> None:
    good = black_hole_cluster("1s")
    xds.set("node", [good])
    envoy = await start_envoy("node")
    while not await envoy.stat("cluster_manager.cds.update_success"):
        await asyncio.sleep(0.02)
    connection = xds.connection("node")
    while connection.status(CLUSTER).state != "SYNCED":
        await asyncio.sleep(0.02)
    bad = {**good, "name": "bad", "type": "EDS"}  # an EDS cluster without a source of endpoints
    del bad["load_assignment"]
    xds.set("node", [good, bad])
    while connection.status(CLUSTER).state != "ERROR":
        await asyncio.sleep(0.02)
    assert await envoy.stat("cluster_manager.cds.update_rejected") == 1
    # It is held now, and not repeated; the next good one is taken.
    xds.set("node", [good, {**good, "name": "other"}])
    while connection.status(CLUSTER).state != "SYNCED":
        await asyncio.sleep(0.02)
    assert await envoy.stat("cluster_manager.cds.update_rejected") == 1
    assert '"other"' in await envoy.get("/config_dump")
