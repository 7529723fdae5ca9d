"""A listener as the data path uses it: its filter chains compiled for matching, its listener filters resolved.

Values; made from typed configuration by `proxy.net.listener_builder` and replaced as a whole.
Reference: envoy.config.listener.v3.Listener.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from proxy.config.listener import FilterChain, Listener
from proxy.net.downstream import DownstreamFacts
from proxy.net.filter_chain_match import FilterChainMatcher
from proxy.net.listener_stats import ListenerStats
from proxy.net.tls_socket import Established
from proxy.observability.stream_info import StreamInfo
from proxy.tls.contexts import TlsContext

PortTest = Callable[[int], bool]


class NetworkFilter(Protocol):
    """What serves the connections of a filter chain."""

    def serve(self, end: Established, facts: DownstreamFacts) -> None:
        """Take the connection over; TLS is done."""

    def drain(self) -> None:
        """Finish what runs; idle connections close."""

    def close(self) -> None:
        """Break off what runs."""

    @property
    def active(self) -> int:
        """How many connections are being served."""


@dataclass(slots=True)
class RuntimeChain:
    """One filter chain. `config` tells by identity whether it changed; `handshake_timeout` in s."""

    name: str
    config: FilterChain
    network_filter: NetworkFilter
    tls: TlsContext | None = None
    local_uri_san: Callable[[], str | None] = lambda: None
    handshake_timeout: float = 15.0

    def serve(self, end: Established, facts: DownstreamFacts) -> None:
        self.network_filter.serve(end, facts)


@dataclass(slots=True)
class ListenerRuntime:
    """One listener. `address` is what it binds or, without `bind_to_port`, what destinations it takes."""

    name: str
    config: Listener
    address: tuple[str, int]
    stats: ListenerStats
    matcher: FilterChainMatcher[RuntimeChain]
    chains: list[RuntimeChain]
    inspects_tls: PortTest
    inspects_http: PortTest
    restores_destination: bool = False
    use_original_dst: bool = False
    bind_to_port: bool = True
    filters_timeout: float = 15.0
    continue_on_timeout: bool = False
    loggers: tuple[Callable[[StreamInfo], None], ...] = field(default_factory=tuple)

    @property
    def active(self) -> int:
        return sum(chain.network_filter.active for chain in self.chains)
