"""MAGLEV: a table in which each host has its share of the entries; a key belongs to the entry of its remainder.

Hosts claim entries in turn, each in an order of its own that its hash gives. Reference: Google's Maglev paper, §3.4; Envoy
source/extensions/load_balancing_policies/maglev.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from proxy.upstream.host import Host
from proxy.upstream.lb.hash_key import hash_key
from proxy.upstream.lb.hashing import xxhash64
from proxy.upstream.lb.interface import Making, Shares

_PIECE = 16384  # places looked at; some 2 ms


class Maglev:
    """See `interface.HashTable`. `table` has the index of a host at each place."""

    __slots__ = ("_hosts", "_table")

    def __init__(self, table: Sequence[int], hosts: list[Host]) -> None:
        self._table = table
        self._hosts = hosts

    def pick(self, key: int, attempt: int) -> Host:
        if attempt:
            key ^= 2**64 - attempt  # most bits change, so that retries spread
        return self._hosts[self._table[key % len(self._table)]]


def maglev(shares: Shares, size: int) -> Making:
    """Makes a table. `size` is prime, or a host's order would not visit every entry."""
    # In an order that is not the configuration's: whoever builds the table gets the same one.
    shares = sorted(shares, key=lambda share: hash_key(share[0]))
    hosts = [host for host, _ in shares]
    most = max(share for _, share in shares)
    keys = [hash_key(host) for host in hosts]
    at = [xxhash64(key) % size for key in keys]
    skips = [xxhash64(key, 1) % (size - 1) + 1 for key in keys]
    due = [0.0] * len(keys)
    table, left, turn, worked = [-1] * size, size, 0, 0
    members = list(enumerate(share for _, share in shares))
    # Everything in one loop and in local names: it runs once per change, for 65537 entries and more probes.
    while left:
        turn += 1
        for index, share in members:
            if turn * share < due[index]:
                continue  # a host of a smaller share sits turns out
            due[index] += most
            place, skip = at[index], skips[index]
            while table[place] >= 0:
                place += skip
                if place >= size:
                    place -= size
            table[place] = index
            at[index] = place
            left -= 1
            if not left:
                break
            worked += size // left  # so many places are looked at for one that is free
            if worked >= _PIECE:
                worked = 0
                yield
        worked += len(members)
        if worked >= _PIECE:
            worked = 0
            yield
    return Maglev(array("H" if len(keys) < 65536 else "L", table), hosts)
