"""What the upstream layer asks of the socket layer, without knowing it: a connected, TLS-finished socket.

`proxy.net.connect` implements it; tests hand in fakes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from proxy.upstream.failure import UpstreamReset

if TYPE_CHECKING:
    from proxy.upstream.transport import Transport

Address = tuple[str, int]


class Connecting(Protocol):
    """A connection being made."""

    def cancel(self) -> None:
        """Give up; no callback follows."""


class Connector(Protocol):
    """Opens connections. Exactly one of the callbacks runs, never before `connect` has returned."""

    def connect(
        self,
        address: Address,
        transport: Transport,
        alpn: tuple[str, ...] | None,
        timeout: float,
        source: Address | None,
        on_connected: Callable[[socket.socket], None],
        on_failed: Callable[[UpstreamReset], None],
    ) -> Connecting:
        """`timeout` (s) covers TCP and TLS; `alpn` replaces the transport's own list; `source` is bound first."""
