"""RANDOM: any host, uniformly.

Reference: Envoy source/extensions/load_balancing_policies/random. Weights within a locality play no part,
as there.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.upstream.host import Host
from proxy.upstream.lb.interface import Draw, Policy


class Random(Policy):
    """Keeps nothing but the hosts."""

    __slots__ = ("_hosts",)

    def __init__(self) -> None:
        self._hosts: tuple[Host, ...] = ()

    def update(self, hosts: Sequence[Host]) -> None:
        self._hosts = tuple(hosts)

    def pick(self, draw: Draw) -> Host:
        return self._hosts[int(draw() * len(self._hosts))]
