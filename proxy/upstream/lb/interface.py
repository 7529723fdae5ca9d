"""What a load-balancing policy is: hosts in, one of them out.

A policy keeps only what it needs between picks, sees no network and draws no random number: `draw` is a callable
giving a uniform number in [0, 1). `update` is called when the hosts to choose from, their weights or their health changed.
There are two sorts: a `Policy` chooses among one group of hosts, in turn or at random; a `HashTable` finds the host of a key.
`proxy.upstream.lb.balancer` says which group, by priority and locality. Reference: Envoy source/extensions/load_balancing_policies.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from proxy.upstream.host import Host

Draw = Callable[[], float]


class Policy:
    """One per group of hosts; `pick` is called for every attempt. A base class, not a protocol: compiled code calls it directly."""

    __slots__ = ()

    def update(self, hosts: Sequence[Host]) -> None:
        """The hosts to choose from, at least one whenever `pick` is called."""
        raise NotImplementedError

    def pick(self, draw: Draw) -> Host:
        """The host for the next attempt."""
        raise NotImplementedError


class HashTable(Protocol):
    """Made once for a group of hosts with the share of traffic each is to get."""

    def pick(self, key: int, attempt: int) -> Host:
        """The host of a key of 64 bits; `attempt` counts hosts of this key that were turned down."""


Shares = Sequence[tuple[Host, float]]
"""Hosts, each with its share of 1."""
Making = Generator[None, None, HashTable]
"""Makes a table in pieces of a few ms each, and returns it."""
Later = Callable[[Callable[[], None]], object]
"""Calls what it is given a little later, and not from within."""


def made(making: Making) -> HashTable:
    """The table, all at once."""
    while True:
        try:
            next(making)
        except StopIteration as end:
            table: HashTable = end.value
            return table


def weighted(hosts: Sequence[Host]) -> bool:
    """Whether the hosts' weights differ, so that they matter."""
    return len({host.weight for host in hosts}) > 1
