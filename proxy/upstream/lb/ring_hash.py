"""RING_HASH (ketama): each host stands at many places of a ring; a key belongs to the next place.

A host that comes or goes moves only the keys next to its places. Reference: Envoy
source/extensions/load_balancing_policies/ring_hash; minimum and maximum ring size bound the number of places.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from math import ceil

from proxy.upstream.lb.hash_key import hash_key
from proxy.upstream.lb.hashing import Hash
from proxy.upstream.lb.interface import Candidate, Shares

_INDEX_BITS = 32
_INDEX_MASK = (1 << _INDEX_BITS) - 1


class RingHash:
    """See `interface.HashTable`."""

    __slots__ = ("_hashes", "_hosts")

    def __init__(self, shares: Shares, minimum: int, maximum: int, hash_function: Hash) -> None:
        least = min(share for _, share in shares)
        # The host with the least share gets a whole number of places, so that all shares come out right.
        scale = min(ceil(least * minimum) / least, float(maximum))
        # A place is its hash with the host's index behind it: numbers sort fast and are small, and a ring may have millions.
        places: list[int] = []
        wanted = 0.0
        for index, (host, share) in enumerate(shares):
            wanted += scale * share
            key, turn = hash_key(host) + b"_", 0
            while len(places) < wanted:
                places.append(hash_function(key + b"%d" % turn) << _INDEX_BITS | index)
                turn += 1
        places.sort()
        hosts = [host for host, _ in shares]
        self._hashes = array("Q", (place >> _INDEX_BITS for place in places))
        self._hosts = [hosts[place & _INDEX_MASK] for place in places]

    def pick(self, key: int, attempt: int) -> Candidate:
        hosts = self._hosts
        return hosts[(bisect_left(self._hashes, key) % len(hosts) + attempt) % len(hosts)]

    def __len__(self) -> int:
        return len(self._hosts)
