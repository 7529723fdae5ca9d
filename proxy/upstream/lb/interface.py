"""What a load-balancing policy is: hosts in, one of them out.

A policy keeps only what it needs between picks, sees no network and draws no random number: `draw` is a callable
giving a uniform number in [0, 1). `update` is called when the set of eligible hosts or their weights changed.
Reference: Envoy source/extensions/load_balancing_policies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

Draw = Callable[[], float]


class Candidate(Protocol):
    """What a policy may know of a host."""

    @property
    def weight(self) -> int: ...

    @property
    def rq_active(self) -> int: ...


class Policy(Protocol):
    """One per cluster and set of hosts; `pick` is called for every attempt."""

    def update(self, hosts: Sequence[Candidate]) -> None:
        """The hosts to choose from, at least one whenever `pick` is called."""

    def pick(self, draw: Draw) -> Candidate:
        """The host for the next attempt."""


def weighted(hosts: Sequence[Candidate]) -> bool:
    """Whether the hosts' weights differ, so that they matter."""
    return len({host.weight for host in hosts}) > 1
