"""All listeners of this proxy, and how a new snapshot becomes the current one.

A change is prepared whole (`prepare` may refuse) and then applied at once (`commit`): sockets of unchanged addresses stay
open, so no connection is refused meanwhile; an unchanged filter chain keeps its connections; a changed or removed one
drains. Sockets are bound last, each failure reported for itself, as Envoy's listener manager does.
Reference: Envoy source/common/listener_manager/listener_manager_impl.cc; reference §3.3, §18.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

from proxy.config.listener import Listener
from proxy.deadlines import Deadlines
from proxy.net import listener_builder
from proxy.net.listener import AcceptingSocket, bind
from proxy.net.listener_builder import ListenerParts
from proxy.net.listener_config import ListenerRuntime, RuntimeChain


class ListenerManager:
    """`listeners` maps names to runtimes. `drain_time` (s): how long a removed filter chain may finish its work.

    `bind` gives the listening socket of an address, or raises OSError.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        parts: ListenerParts,
        drain_time: float = 600.0,
        bind: Callable[[tuple[str, int]], socket.socket] = bind,
    ) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self._parts = parts
        self._drain_time = drain_time
        self._bind = bind
        self.listeners: dict[str, ListenerRuntime] = {}
        self._sockets: dict[tuple[str, int], AcceptingSocket] = {}
        self._lent: dict[int, list[AcceptingSocket]] = {}
        self._by_destination: dict[tuple[str, int], ListenerRuntime] = {}
        self._draining: set[int] = set()
        self._draining_chains: list[RuntimeChain] = []
        self.draining = False

    def prepare(self, wanted: Mapping[str, Listener]) -> dict[str, ListenerRuntime]:
        """Build what is new. Raises ConfigError; nothing has changed then."""
        prepared: dict[str, ListenerRuntime] = {}
        for name, definition in wanted.items():
            before = self.listeners.get(name)
            if before is not None and before.config is definition:
                prepared[name] = before
            else:
                prepared[name] = listener_builder.build(definition, self._parts, before)
        return prepared

    def commit(self, prepared: dict[str, ListenerRuntime]) -> list[str]:
        """Make it current; returns what could not be bound, one text each."""
        before, self.listeners = self.listeners, prepared
        self._by_destination = {
            runtime.address: runtime for runtime in prepared.values() if not runtime.bind_to_port
        }
        errors = self._bind_all()
        kept = {id(chain) for runtime in prepared.values() for chain in runtime.chains}
        for runtime in before.values():
            for chain in runtime.chains:
                if id(chain) not in kept:
                    self._drain_chain(chain)
        return errors

    def _bind_all(self) -> list[str]:
        errors: list[str] = []
        bound = {runtime.address: runtime for runtime in self.listeners.values() if runtime.bind_to_port}
        for address in [address for address in self._sockets if address not in bound]:
            self._sockets.pop(address).close()
        for lent in (one for accepting in self._lent.values() for one in accepting):
            if lent.runtime.address in bound:
                lent.runtime = bound[lent.runtime.address]
            else:
                lent.leave()
        for address, runtime in bound.items():
            accepting = self._sockets.get(address)
            if accepting is not None:
                accepting.runtime = runtime
                continue
            try:
                sock = self._bind(address)
            except OSError as error:
                errors.append(f"cannot bind '{address[0]}:{address[1]}': {error.strerror}")
                continue
            accepting = AcceptingSocket(self._loop, self._deadlines, sock, runtime, self)
            self._sockets[address] = accepting
            accepting.start()
        return errors

    def accept_for(self, number: int, sockets: Mapping[tuple[str, int], socket.socket]) -> None:
        """Serve also what comes to these sockets of listeners' addresses, which another worker served that is gone."""
        self.leave_to(number)
        bound = {runtime.address: runtime for runtime in self.listeners.values() if runtime.bind_to_port}
        for address, sock in sockets.items():
            if address not in bound:
                sock.close()
                continue
            lent = AcceptingSocket(self._loop, self._deadlines, sock, bound[address], self)
            self._lent.setdefault(number, []).append(lent)
            lent.start()

    def leave_to(self, number: int) -> None:
        """There is another worker for them again."""
        for lent in self._lent.pop(number, ()):
            lent.leave()

    def for_destination(self, address: tuple[str, int]) -> ListenerRuntime | None:
        """The unbound listener for an original destination: its own address first, then the wildcard's."""
        by_destination = self._by_destination
        found = by_destination.get(address)
        if found is not None:
            return found
        wildcard = "::" if ":" in address[0] else "0.0.0.0"
        return by_destination.get((wildcard, address[1]))

    def _drain_chain(self, chain: RuntimeChain) -> None:
        if not chain.network_filter.active:
            return
        chain.network_filter.drain()
        self._deadlines.after(self._drain_time, chain.network_filter.close)

    def drain(self, *, inbound_only: bool = False) -> None:
        """Graceful drain: go on accepting, but every answer tells the client to close."""
        self.draining = True
        for runtime in self.listeners.values():
            if not inbound_only or runtime.config.traffic_direction == "INBOUND":
                for chain in runtime.chains:
                    chain.network_filter.drain()

    def stop_accepting(self) -> None:
        """Close the listening sockets; served connections go on."""
        for accepting in self._sockets.values():
            accepting.close()
        self._sockets.clear()
        for number in list(self._lent):
            self.leave_to(number)

    def close(self) -> None:
        """Stop accepting and break off everything."""
        self.stop_accepting()
        for runtime in self.listeners.values():
            for chain in runtime.chains:
                chain.network_filter.close()

    def bound_address(self, name: str) -> tuple[str, int]:
        """The address a listener really has, for one bound to port 0."""
        host, port = self._sockets[self.listeners[name].address].sock.getsockname()[:2]
        return host, port

    @property
    def active_connections(self) -> int:
        """Connections being served, over all listeners."""
        return sum(runtime.active for runtime in self.listeners.values())

    def __repr__(self) -> str:
        return f"<ListenerManager {len(self.listeners)} listeners, {self.active_connections} connections>"
