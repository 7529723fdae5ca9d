"""Ring and Maglev table: shares, and what a change moves. That a key picks Envoy's host is shown in tests/conformance/balancing."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.upstream.host import Host
from proxy.upstream.lb.hash_key import hash_key
from proxy.upstream.lb.hashing import murmur2, xxhash64
from proxy.upstream.lb.interface import HashTable, made
from proxy.upstream.lb.maglev import maglev
from proxy.upstream.lb.ring_hash import RingHash, ring_hash
from proxy.upstream.transport import RAW
from tests.unit.proxy.upstream.lb.members import members, number

KEYS = [xxhash64(b"%d" % at) for at in range(2000)]


def shares(hosts: list[Host], weights: list[int]) -> list[tuple[Host, float]]:
    return [(host, weight / sum(weights)) for host, weight in zip(hosts, weights, strict=True)]


def tables(hosts: list[Host], weights: list[int]) -> list[HashTable]:
    parts = shares(hosts, weights)
    return [
        made(ring_hash(parts, 4096, 2**23, xxhash64)),
        made(ring_hash(parts, 4096, 2**23, murmur2)),
        made(maglev(parts, 4099)),
    ]


def test_keys_fall_by_weight() -> None:
    for table in tables(members("HHH"), [1, 2, 5]):
        found = Counter(number(table.pick(key, 0)) for key in KEYS)  # type: ignore[arg-type]
        for at, weight in enumerate((1, 2, 5)):
            assert found[at] == pytest.approx(len(KEYS) * weight / 8, rel=0.25)


def test_a_host_that_goes_moves_little_else() -> None:
    hosts = members("HHHHH")
    for before, after in zip(tables(hosts, [1] * 5), tables(hosts[:4], [1] * 4), strict=True):
        kept = [key for key in KEYS if before.pick(key, 0) is not hosts[4]]
        moved = sum(before.pick(key, 0) is not after.pick(key, 0) for key in kept)
        assert moved < len(kept) * 0.2


@pytest.mark.parametrize(
    ("minimum", "maximum", "weights", "size"),
    [
        (1024, 2**23, [1, 1], 1024),
        (1024, 2**23, [1, 1, 1], 1026),  # a whole number of places for the least share
        (1, 2**23, [1, 2, 3], 6),
        (1024, 100, [1], 100),
        (10, 2**23, [1, 100], 101),
        (16, 20, [1, 100], 20),
    ],
)
def test_ring_sizes(minimum: int, maximum: int, weights: list[int], size: int) -> None:
    ring = made(ring_hash(shares(members("H" * len(weights)), weights), minimum, maximum, xxhash64))
    assert isinstance(ring, RingHash)
    assert len(ring) == size


def test_the_ring_closes() -> None:
    ring = made(ring_hash(shares(members("HH"), [1, 1]), 8, 8, xxhash64))
    assert ring.pick(2**64 - 1, 0) is ring.pick(0, 0)


def test_an_attempt_goes_on_along_the_ring() -> None:
    ring = made(ring_hash(shares(members("HHHH"), [1] * 4), 1024, 2**23, xxhash64))
    found = {number(ring.pick(99, attempt)) for attempt in range(30)}  # type: ignore[arg-type]
    assert found == {0, 1, 2, 3}


def test_a_host_may_bring_its_own_key() -> None:
    plain = Host(("10.0.0.1", 80), RAW)
    named = Host(("10.0.0.1", 80), RAW, metadata={"envoy.lb": {"hash_key": "one"}})
    other = Host(("10.0.0.2", 80), RAW, metadata={"envoy.lb": {"hash_key": 3}})
    assert [hash_key(host) for host in (plain, named, other)] == [b"10.0.0.1:80", b"one", b"10.0.0.2:80"]


@settings(max_examples=30)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.sampled_from([2, 3, 11, 101]))
def test_every_entry_of_a_maglev_table_has_a_host(weights: list[int], size: int) -> None:
    table = made(maglev(shares(members("H" * len(weights)), weights), size))
    for key in range(size):
        table.pick(key, 0)
