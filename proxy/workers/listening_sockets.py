"""One listening socket per worker and address, made and held by the leading worker.

They share their address (SO_REUSEPORT), and the kernel spreads connections over them by their addresses and ports. Whoever
accepts from one, the leader holds it too: a worker that ends leaves its queue to the one that takes its place, and refuses
nobody meanwhile.
"""

from __future__ import annotations

import socket
from collections.abc import Collection

from proxy.net import listener

Address = tuple[str, int]


class ListeningSockets:
    """For `others` workers beside the leader. `held` has their sockets, in their order, by the address asked for."""

    def __init__(self, others: int) -> None:
        self._others = others
        self.held: dict[Address, list[socket.socket]] = {}

    def bind(self, address: Address) -> socket.socket:
        """The leader's own socket of an address; those of the others are held. Raises OSError."""
        found = [listener.bind(address, shared=True)]
        try:
            # With port 0 the first one chooses.
            bound: Address = found[0].getsockname()[:2]
            for _ in range(self._others):
                found.append(listener.bind(bound, shared=True))
        except OSError:
            for one in found:
                one.close()
            raise
        self.held[address] = found[1:]
        return found[0]

    def keep_only(self, addresses: Collection[Address]) -> None:
        """Close those of addresses that nobody listens on any more."""
        for address in [address for address in self.held if address not in addresses]:
            for one in self.held.pop(address):
                one.close()

    def __repr__(self) -> str:
        return f"<ListeningSockets {len(self.held)} addresses, {self._others + 1} workers>"
