"""The same key picks the same host as in real Envoy, given the same endpoint addresses: ring hash and maglev, whatever the
weights, localities, priorities and health."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.balancing.clusters import BY_LOCALITY, PANIC_OFF, Json, cluster, common
from tests.conformance.balancing.conftest import Answer, Pair, Upstreams
from tests.conformance.balancing.hashing_routes import EXCHANGES, ROUTES
from tests.conformance.balancing.shapes import SHAPES

pytestmark = pytest.mark.envoy

KEYS = 20
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
        clusters = table(ports) + small_tables(ports)
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
    assert set(range(6)) <= set(ours)  # the table is worth something: many hosts were picked


def small_tables(ports: list[int]) -> list[Json]:
    """Hosts in no order, with so few entries that each rounding and collision shows; the proxy is in one of the places."""
    chance = random.Random(3)
    found = []
    for number in range(24):
        h = chance.sample(range(len(ports)), 6)
        zones = [
            {"hosts": h[3:5], "zone": "a", "weight": 10, "weights": [2, 3]},
            {"hosts": h[5:], "zone": "b", "weight": 27},
            {"hosts": h[:3], "zone": "d", "weight": 63, "weights": [3, 5, 7]},
        ]
        flat = [{"hosts": h, "weights": [chance.randint(1, 9) for _ in h]}]
        groups = zones if number % 4 < 2 else flat
        policy, options = (
            ("MAGLEV", {"maglev_lb_config": {"table_size": "101"}})
            if number % 2
            else ("RING_HASH", {"ring_hash_lb_config": {"minimum_ring_size": "31"}})
        )
        found.append(
            cluster(f"small-{number}", policy, ports, groups, **options, **common(PANIC_OFF, BY_LOCALITY))
        )
    return found


async def test_the_same_request_has_the_same_key(both: Callable[[list[Json], list[Json]], Pair]) -> None:
    """Header, cookie, query parameter and source address, what they become together, and what a retry makes of them."""
    async with Upstreams(10) as upstreams:
        ports = upstreams.ports
        hosts = [{"hosts": list(range(10))}]
        clusters = [cluster("ring", "RING_HASH", ports, hosts), cluster("maglev", "MAGLEV", ports, hosts)]
        near_and_far = [
            {"hosts": [0, 1, 2]},
            {"hosts": [3, 4], "priority": 1},
            {"hosts": [5, 6], "priority": 2},
        ]
        clusters += [
            cluster("far-ring", "RING_HASH", ports, near_and_far),
            cluster("far-maglev", "MAGLEV", ports, near_and_far),
        ]
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


@pytest.mark.parametrize("policy", ["RING_HASH", "MAGLEV"])
async def test_an_opaque_connection_goes_by_its_source(
    both: Callable[[list[Json], list[Json]], Pair], policy: str
) -> None:
    async with Upstreams(10) as upstreams:
        clusters = [cluster("tcp", policy, upstreams.ports, [{"hosts": list(range(10))}])]
        sidecars = await asyncio.to_thread(both, clusters, [])
        request = "GET / HTTP/1.1\r\nhost: a"
        envoys, ours = [
            [(await sidecar.ask([request], f"127.0.0.{at}", opaque=True))[0][2] for at in range(1, 30)]
            for sidecar in sidecars
        ]
    assert envoys == ours
    assert len(set(ours)) > 4


def _unvalued(cookie: str) -> str:
    """The value is made of the connection's addresses, which differ."""
    name, _, rest = cookie.partition("=")
    value, _, attributes = rest.partition(";")
    assert len(value) == 18, cookie
    return f"{name}=…;{attributes}"
