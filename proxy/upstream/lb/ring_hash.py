"""RING_HASH (ketama): each host stands at many places of a ring; a key belongs to the next place.

A host that comes or goes moves only the keys next to its places. Reference: Envoy
source/extensions/load_balancing_policies/ring_hash; minimum and maximum ring size bound the number of places.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from math import ceil

from proxy.upstream.host import Host
from proxy.upstream.lb.hash_key import hash_key
from proxy.upstream.lb.hashing import Hash
from proxy.upstream.lb.interface import Making, Shares

_PIECE = 512  # places; some 2 ms
_INDEX_BITS = 32
_INDEX_MASK = (1 << _INDEX_BITS) - 1


class RingHash:
    """See `interface.HashTable`. `hashes` rise, and each has its host."""

    __slots__ = ("_hashes", "_hosts")

    def __init__(self, hashes: Sequence[int], hosts: list[Host]) -> None:
        self._hashes = hashes
        self._hosts = hosts

    def pick(self, key: int, attempt: int) -> Host:
        hosts = self._hosts
        return hosts[(bisect_left(self._hashes, key) % len(hosts) + attempt) % len(hosts)]

    def __len__(self) -> int:
        return len(self._hosts)


def ring_hash(shares: Shares, minimum: int, maximum: int, hash_function: Hash) -> Making:
    """Makes a ring."""
    least = min(share for _, share in shares)
    # The host with the least share gets a whole number of places, so that all shares come out right.
    scale = min(ceil(least * minimum) / least, float(maximum))
    # A place is its hash with the host's index behind it: numbers sort fast and are small, and a ring may have millions. By their
    # first bits they fall into arcs, so that sorting takes no long time at once either.
    shift = 64 - max(0, int(scale).bit_length() - _PIECE.bit_length())
    arcs: list[list[int]] = [[] for _ in range(1 << (64 - shift))]
    count, wanted = 0, 0.0
    for index, (host, share) in enumerate(shares):
        wanted += scale * share
        key, turn = hash_key(host) + b"_", 0
        while count < wanted:
            place = hash_function(key + b"%d" % turn)
            arcs[place >> shift].append(place << _INDEX_BITS | index)
            turn += 1
            count += 1
            if not count % _PIECE:
                yield
    hosts = [host for host, _ in shares]
    hashes, standing = array("Q"), list[Host]()
    for arc in arcs:
        arc.sort()
        hashes.extend([place >> _INDEX_BITS for place in arc])
        standing.extend([hosts[place & _INDEX_MASK] for place in arc])
        arc.clear()
        yield
    return RingHash(hashes, standing)
