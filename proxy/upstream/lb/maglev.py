"""MAGLEV: a table in which each host has its share of the entries; a key belongs to the entry of its remainder.

Hosts claim entries in turn, each in an order of its own that its hash gives. Reference: Google's Maglev paper, §3.4; Envoy
source/extensions/load_balancing_policies/maglev.
"""

from __future__ import annotations

from array import array

from proxy.upstream.lb.hash_key import hash_key
from proxy.upstream.lb.hashing import xxhash64
from proxy.upstream.lb.interface import Candidate, Shares


class Maglev:
    """See `interface.HashTable`. `size` is prime, or a host's order would not visit every entry."""

    __slots__ = ("_hosts", "_table")

    def __init__(self, shares: Shares, size: int) -> None:
        self._hosts = [host for host, _ in shares]
        self._table = array("l", [-1]) * size
        most = max(share for _, share in shares)
        keys = [hash_key(host) for host in self._hosts]
        at = [xxhash64(key) % size for key in keys]
        skips = [xxhash64(key, 1) % (size - 1) + 1 for key in keys]
        due = [0.0] * len(keys)
        left, turn = size, 0
        while True:
            turn += 1
            for index, (_, share) in enumerate(shares):
                if turn * share < due[index]:
                    continue  # a host of a smaller share sits turns out
                due[index] += most
                at[index] = self._claim(index, at[index], skips[index])
                left -= 1
                if not left:
                    return

    def _claim(self, index: int, at: int, skip: int) -> int:
        """Take the next free entry of the host's order; returns where the order goes on."""
        table, size = self._table, len(self._table)
        while table[at] >= 0:
            at = (at + skip) % size
        table[at] = index
        return (at + skip) % size

    def pick(self, key: int, attempt: int) -> Candidate:
        if attempt:
            key ^= 2**64 - attempt  # most bits change, so that retries spread
        return self._hosts[self._table[key % len(self._table)]]
