"""What is known of an accepted connection when a network filter takes it over. A value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.tls.peer import PeerIdentity


@dataclass(slots=True)
class DownstreamFacts:
    """Addresses are `ip:port`; the local one is the original destination. Times in s, monotonic and wall clock.

    `on_closed` is the listener's, to be called once when the connection is over.
    """

    local_address: str
    remote_address: str
    original_destination: tuple[str, int] | None = None
    tls: bool = False
    sni: str | None = None
    peer: PeerIdentity | None = None
    local_uri_san: str | None = None
    started: float = 0.0
    started_wall: float = 0.0
    on_closed: Callable[[], None] = lambda: None


def format_address(address: tuple[str, int]) -> str:
    """`10.0.0.1:80`, `[::1]:80`."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
