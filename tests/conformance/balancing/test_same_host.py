"""The same key picks the same host as in real Envoy, given the same endpoint addresses: ring hash and maglev, whatever the
weights, localities, priorities and health."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.balancing.clusters import BY_LOCALITY, PANIC_OFF, Json, cluster, common
from tests.conformance.balancing.conftest import Answer, Pair, Upstreams
from tests.conformance.balancing.hashing_routes import EXCHANGES, ROUTES

pytestmark = pytest.mark.envoy

KEYS = 20
OK, BAD, MEH = "HEALTHY", "UNHEALTHY", "DEGRADED"
ALL = {"hosts": [0, 1, 2, 3, 4, 5]}
WEIGHTED = {**ALL, "weights": [1, 5, 2, 7, 1, 3]}
ZONES: list[Json] = [
    {"hosts": [0, 1], "zone": "b", "weight": 3},
    {"hosts": [2, 3], "zone": "a", "weight": 1, "weights": [2, 1]},
    {"hosts": [4, 5], "zone": "c", "weight": 6},
]
# name: (groups, more fields of the cluster)
SHAPES: dict[str, tuple[list[Json], Json]] = {
    "one": ([{"hosts": [0]}], {}),
    "two": ([{"hosts": [1, 0]}], {}),
    "six": ([ALL], {}),
    "other-order": ([{"hosts": [5, 2, 0, 1, 4, 3]}], {}),
    "weighted": ([WEIGHTED], {}),
    "heavy": ([{"hosts": [0, 1, 2], "weights": [1, 100, 10]}], {}),
    "keyed": ([{**ALL, "keys": ["a", "b", "c", "d", "e", ""]}], {}),
    "named": ([{"hosts": [0, 1, 2], "keys": ["a", "", "b"]}], {}),
    "unhealthy": ([{**ALL, "health": [OK, BAD, OK, "DRAINING", "TIMEOUT", OK]}], common(PANIC_OFF)),
    "degraded": ([{**ALL, "health": [OK, MEH, OK, MEH, OK, OK]}], common(PANIC_OFF)),
    "all-degraded": ([{"hosts": [0, 1, 2], "health": [MEH, MEH, MEH]}], common(PANIC_OFF)),
    "panic": ([{**ALL, "health": [OK, BAD, BAD, BAD, BAD, OK]}], {}),
    "no-panic": ([{**ALL, "health": [OK, BAD, BAD, BAD, BAD, OK]}], common(PANIC_OFF)),
    "all-unhealthy": ([{"hosts": [0, 1], "health": [BAD, BAD]}], common(PANIC_OFF)),
    "all-unhealthy-panic": ([{"hosts": [0, 1, 2], "health": [BAD, BAD, BAD]}], {}),
    "zones": (ZONES, common(PANIC_OFF)),
    "zones-weighted": (ZONES, common(PANIC_OFF, BY_LOCALITY)),
    "zones-unweighted": ([{"hosts": [0, 1], "zone": "a"}, {"hosts": [2], "zone": "b"}], common(BY_LOCALITY)),
    "zones-one-weight": (
        [{"hosts": [0, 1], "zone": "a"}, {"hosts": [2, 3], "zone": "b", "weight": 1}],
        common(BY_LOCALITY),
    ),
    "zones-unhealthy": (
        [
            {"hosts": [0, 1], "zone": "a", "weight": 5, "health": [BAD, OK]},
            {"hosts": [2, 3], "zone": "b", "weight": 2},
        ],
        common(PANIC_OFF, BY_LOCALITY),
    ),
    "priorities": ([{"hosts": [0, 1, 2]}, {"hosts": [3, 4, 5], "priority": 1}], {}),
    "spill": (
        [{"hosts": [0, 1, 2], "health": [OK, BAD, BAD]}, {"hosts": [3, 4, 5], "priority": 1}],
        common(PANIC_OFF),
    ),
    "spill-far": (
        [
            {"hosts": [0, 1], "health": [BAD, BAD]},
            {"hosts": [2, 3, 4], "health": [OK, BAD, BAD], "priority": 1},
            {"hosts": [5], "priority": 2},
        ],
        common(PANIC_OFF),
    ),
    "spill-short": (
        [
            {"hosts": [0, 1, 2], "health": [OK, BAD, BAD]},
            {"hosts": [3, 4, 5], "health": [BAD, OK, BAD], "priority": 1},
        ],
        {**common(PANIC_OFF), "overprovisioning": 100},
    ),
    "first-priority-empty": ([{"hosts": [0, 1], "priority": 1}], common(PANIC_OFF)),
    "all-panic": (
        [
            {"hosts": [0, 1, 2], "health": [OK, BAD, BAD]},
            {"hosts": [3, 4, 5, 6, 7, 8, 9], "health": [BAD] * 7, "priority": 1},
        ],
        {},
    ),
}
POLICIES: dict[str, tuple[str, Json]] = {
    "ring": ("RING_HASH", {}),
    "maglev": ("MAGLEV", {}),
}
SETTINGS: dict[str, tuple[str, Json]] = {
    "ring-small": ("RING_HASH", {"ring_hash_lb_config": {"minimum_ring_size": "7"}}),
    "ring-large": ("RING_HASH", {"ring_hash_lb_config": {"minimum_ring_size": "5000"}}),
    "ring-cut": (
        "RING_HASH",
        {"ring_hash_lb_config": {"minimum_ring_size": "16", "maximum_ring_size": "20"}},
    ),
    "ring-tiny": ("RING_HASH", {"ring_hash_lb_config": {"minimum_ring_size": "1", "maximum_ring_size": "3"}}),
    "ring-murmur": ("RING_HASH", {"ring_hash_lb_config": {"hash_function": "MURMUR_HASH_2"}}),
    "maglev-small": ("MAGLEV", {"maglev_lb_config": {"table_size": "11"}}),
    "maglev-large": ("MAGLEV", {"maglev_lb_config": {"table_size": "100003"}}),
}


def table(ports: list[int]) -> list[Json]:
    found = [
        cluster(f"{policy}.{shape}", lb_policy, ports, groups, **more, **options)
        for shape, (groups, more) in SHAPES.items()
        for policy, (lb_policy, options) in POLICIES.items()
    ]
    found += [
        cluster(f"{name}.{shape}", lb_policy, ports, SHAPES[shape][0], **options)
        for name, (lb_policy, options) in SETTINGS.items()
        for shape in ("six", "weighted")
    ]
    return found


def route(name: str) -> Json:
    hashed = [{"header": {"header_name": "x-key"}}]
    return {"match": {"prefix": f"/{name}/"}, "route": {"cluster": name, "hash_policy": hashed}}


def seen(answer: Answer, ports: list[int]) -> Any:
    status, _, body = answer
    return ports.index(int(body)) if body.isdigit() else (status, body)


async def test_the_same_key_picks_the_same_host(both: Callable[[list[Json], list[Json]], Pair]) -> None:
    async with Upstreams(10) as upstreams:
        ports = upstreams.ports
        clusters = table(ports)
        sidecars = await asyncio.to_thread(both, clusters, [route(one["name"]) for one in clusters])
        asked = [(one["name"], f"{one['name']}-{key}") for one in clusters for key in range(KEYS)]
        requests = [f"GET /{name}/ HTTP/1.1\r\nhost: a\r\nx-key: {key}" for name, key in asked]
        envoys, ours = [
            [seen(answer, ports) for answer in await sidecar.ask(requests)] for sidecar in sidecars
        ]
    different = {
        which: (theirs, mine)
        for which, theirs, mine in zip(asked, envoys, ours, strict=True)
        if theirs != mine
    }
    assert not different, f"{len(different)} of {len(asked)} differ: {list(different.items())[:20]}"
    assert set(range(10)) <= set(ours)  # the table is worth something: every host was picked


async def test_the_same_request_has_the_same_key(both: Callable[[list[Json], list[Json]], Pair]) -> None:
    """Header, cookie, query parameter and source address, what they become together, and what a retry makes of them."""
    async with Upstreams(10) as upstreams:
        ports = upstreams.ports
        hosts = [{"hosts": list(range(10))}]
        clusters = [cluster("ring", "RING_HASH", ports, hosts), cluster("maglev", "MAGLEV", ports, hosts)]
        sidecars = await asyncio.to_thread(both, clusters, ROUTES)
        heads = [exchange.head for exchange in EXCHANGES]
        for source in ("127.0.0.1", "127.0.0.9"):
            envoys, ours = [await sidecar.ask(heads, source) for sidecar in sidecars]
            for exchange, theirs, mine in zip(EXCHANGES, envoys, ours, strict=True):
                made = [
                    list(map(_unvalued, headers.get("set-cookie", []))) for _, headers, _ in (theirs, mine)
                ]
                assert made[0] == made[1], exchange
                if not made[0] or exchange.hashed_before_the_cookie:
                    assert seen(theirs, ports) == seen(mine, ports), exchange


def _unvalued(cookie: str) -> str:
    """The value is made of the connection's addresses, which differ."""
    name, _, rest = cookie.partition("=")
    value, _, attributes = rest.partition(";")
    assert len(value) == 18, cookie
    return f"{name}=…;{attributes}"
