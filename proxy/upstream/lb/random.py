"""RANDOM: any host, uniformly.

Reference: Envoy source/extensions/load_balancing_policies/random. Weights within a locality play no part,
as there.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.upstream.lb.interface import Candidate, Draw


class Random:
    """Keeps nothing but the hosts."""

    __slots__ = ("_hosts",)

    def __init__(self) -> None:
        self._hosts: Sequence[Candidate] = ()

    def update(self, hosts: Sequence[Candidate]) -> None:
        self._hosts = hosts

    def pick(self, draw: Draw) -> Candidate:
        return self._hosts[int(draw() * len(self._hosts))]
