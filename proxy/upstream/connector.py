"""What the upstream layer asks of the socket layer, without knowing it: a connected, TLS-finished socket.

`proxy.net.connect` implements it; tests hand in fakes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from proxy.upstream.failure import UpstreamReset

if TYPE_CHECKING:
    from proxy.net.tls_socket import Established
    from proxy.upstream.transport import TlsOptions, Transport

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Keepalive:
    """TCP keep-alive probes; None leaves the kernel's value. `time` and `interval` in whole s."""

    probes: int | None = None
    time: int | None = None
    interval: int | None = None


@dataclass(frozen=True, slots=True)
class ConnectSettings:
    """How every connection of a cluster is made. `timeout` (s) covers TCP and TLS; `source` is bound first."""

    timeout: float = 5.0
    source: Address | None = None
    keepalive: Keepalive | None = None


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
        options: TlsOptions,
        settings: ConnectSettings,
        on_connected: Callable[[Established], None],
        on_failed: Callable[[UpstreamReset], None],
    ) -> Connecting:
        """`options` are what the requests of this connection add to a TLS transport."""
