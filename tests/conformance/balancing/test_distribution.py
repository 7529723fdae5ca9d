"""Policies that choose at random or in turn give every host the share it has in real Envoy."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from math import sqrt

import pytest

from tests.conformance.balancing.clusters import BY_LOCALITY, PANIC_OFF, Json, cluster, common
from tests.conformance.balancing.conftest import Pair, Sidecar, Upstreams
from tests.conformance.balancing.shapes import BAD, MEH, OK, SHAPES

pytestmark = pytest.mark.envoy

REQUESTS = 150
SIGMAS = 4.5
POLICIES: dict[str, Json] = {
    "ROUND_ROBIN": {},
    "LEAST_REQUEST": {},
    "RANDOM": {},
}
MORE: dict[str, tuple[str, list[Json], Json]] = {
    "bias-0": (
        "LEAST_REQUEST",
        [{"hosts": [0, 1], "weights": [1, 4]}],
        {"least_request_lb_config": {"active_request_bias": {"default_value": 0, "runtime_key": "k"}}},
    ),
    "three-choices": (
        "LEAST_REQUEST",
        [{"hosts": [0, 1, 2]}],
        {"least_request_lb_config": {"choice_count": 3}},
    ),
    "mixed-health-zones": (
        "ROUND_ROBIN",
        [
            {"hosts": [0, 1], "zone": "a", "weight": 4, "health": [OK, MEH]},
            {"hosts": [2, 3], "zone": "b", "weight": 2, "health": [BAD, OK], "weights": [1, 9]},
            {"hosts": [4, 5], "zone": "c", "weight": 8, "health": [BAD, BAD]},
            {"hosts": [6, 7], "zone": "a", "weight": 1, "priority": 1},
        ],
        common(PANIC_OFF, BY_LOCALITY),
    ),
    "panic-threshold-30": (
        "RANDOM",
        [{"hosts": [0, 1, 2], "health": [OK, BAD, BAD]}],
        common({"healthy_panic_threshold": {"value": 30}}),
    ),
    "panic-threshold-34": (
        "RANDOM",
        [{"hosts": [0, 1, 2], "health": [OK, BAD, BAD]}],
        common({"healthy_panic_threshold": {"value": 34}}),
    ),
    "degraded-spill": (
        "ROUND_ROBIN",
        [{"hosts": [0, 1, 2, 3], "health": [OK, MEH, MEH, BAD]}],
        common(PANIC_OFF),
    ),
    "degraded-spill-priorities": (
        "ROUND_ROBIN",
        [
            {"hosts": [0, 1, 2, 3], "health": [OK, MEH, BAD, BAD]},
            {"hosts": [4, 5, 6, 7], "health": [OK, MEH, MEH, BAD], "priority": 1},
        ],
        common(PANIC_OFF),
    ),
    "slow-start-from-the-beginning": (
        "ROUND_ROBIN",
        [{"hosts": [0, 1, 2], "weights": [1, 2, 1]}],
        {"round_robin_lb_config": {"slow_start_config": {"slow_start_window": "60s"}}},
    ),
}


def table(ports: list[int]) -> list[Json]:
    found = [
        cluster(f"{policy}.{shape}", policy, ports, groups, **more)
        for policy in POLICIES
        for shape, (groups, more) in SHAPES.items()
        if not shape.startswith(("one", "other-order", "keyed", "named"))
    ]
    return found + [
        cluster(name, policy, ports, groups, **options) for name, (policy, groups, options) in MORE.items()
    ]


async def counts(sidecar: Sidecar, names: list[str]) -> dict[str, Counter[str]]:
    """Answers by upstream, of each cluster; the clusters in turn on one connection."""
    requests = [f"GET /{name}/ HTTP/1.1\r\nhost: a" for name in names for _ in range(REQUESTS)]
    answers = await sidecar.ask(requests)
    return {
        name: Counter(body for _, _, body in answers[at * REQUESTS : (at + 1) * REQUESTS])
        for at, name in enumerate(names)
    }


def differ(one: int, other: int) -> bool:
    share = (one + other) / 2 / REQUESTS
    return abs(one - other) > SIGMAS * sqrt(2 * REQUESTS * share * (1 - share)) + 2


async def test_every_host_gets_its_share(both: Callable[[list[Json], list[Json]], Pair]) -> None:
    async with Upstreams(10) as upstreams:
        clusters = table(upstreams.ports)
        names = [one["name"] for one in clusters]
        routes = [{"match": {"prefix": f"/{name}/"}, "route": {"cluster": name}} for name in names]
        envoy, ours = await asyncio.to_thread(both, clusters, routes)
        theirs, mine = await counts(envoy, names), await counts(ours, names)
        panics = [_panics(sidecar) for sidecar in (envoy, ours)]
    different = {
        name: (theirs[name], mine[name])
        for name in names
        if any(differ(theirs[name][host], mine[name][host]) for host in theirs[name] | mine[name])
    }
    assert not different
    assert any(panics[0].values())
    assert not {name for name in names if differ(panics[0][name], panics[1][name])}


def _panics(sidecar: Sidecar) -> dict[str, int]:
    stat = ".lb_healthy_panic"
    return {
        name.removesuffix(stat): value
        for name, value in sidecar.stats("cluster.").items()
        if name.endswith(stat)
    }
