"""The admin page tells of hosts what Envoy's does: health, weight, locality, priority."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.conformance.balancing.clusters import Json, cluster
from tests.conformance.balancing.conftest import Pair, Sidecar
from tests.conformance.balancing.shapes import BAD, MEH, OK

pytestmark = pytest.mark.envoy

PORTS = list(range(20001, 20011))  # nobody connects
GROUPS: list[Json] = [
    {
        "hosts": [0, 1, 2, 3, 4, 5],
        "health": [OK, BAD, MEH, "DRAINING", "TIMEOUT", "UNKNOWN"],
        "zone": "b",
        "weight": 3,
    },
    {"hosts": [6, 7], "weights": [3, 250], "zone": "a", "weight": 7, "priority": 1},
    {"hosts": [8], "priority": 1},
]
FIELDS = ("health_flags", "weight", "region", "zone", "sub_zone", "canary", "priority")


def lines(sidecar: Sidecar) -> list[str]:
    found = sidecar.page("/clusters").splitlines()
    return [line for line in found if line.split("::")[2] in FIELDS]


def facts(sidecar: Sidecar) -> list[Json]:

    (status,) = json.loads(sidecar.page("/clusters?format=json"))["cluster_statuses"]
    return [{key: value for key, value in host.items() if key != "stats"} for host in status["host_statuses"]]


async def test_the_page_tells_what_envoys_does(both: Callable[[list[Json], list[Json]], Pair]) -> None:
    clusters = [cluster("c", "ROUND_ROBIN", PORTS, GROUPS)]
    envoy, ours = await asyncio.to_thread(
        both, clusters, [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]
    )
    assert lines(ours) == lines(envoy)
    assert facts(ours) == facts(envoy)
    membership = [
        {name: value for name, value in one.stats("cluster.c.").items() if name.startswith("membership")}
        for one in (ours, envoy)
    ]
    assert membership[0].items() <= membership[1].items()
