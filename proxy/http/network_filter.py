"""The HTTP connection manager as a network filter: the set of HTTP connections of one filter chain.

Reference: Envoy source/extensions/filters/network/http_connection_manager.
"""

from __future__ import annotations

import asyncio

from proxy.deadlines import Deadlines
from proxy.http.conn_manager import HttpConnection
from proxy.http.filters.router import Terminal
from proxy.http.settings import HcmSettings
from proxy.net.downstream import DownstreamFacts
from proxy.net.hangups import Hangups
from proxy.net.tls_socket import Established


class HttpNetworkFilter:
    """See `proxy.net.listener_config.NetworkFilter`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        settings: HcmSettings,
        terminal: Terminal,
        hangups: Hangups,
    ) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self.settings = settings
        self._terminal = terminal
        self._hangups = hangups
        self._connections: set[HttpConnection] = set()
        self._draining = False

    def serve(self, end: Established, facts: DownstreamFacts) -> None:
        connection = HttpConnection(
            self._loop,
            self._deadlines,
            end,
            facts,
            self.settings,
            self._terminal,
            self._hangups,
            self._closed,
        )
        connection.draining = self._draining
        self._connections.add(connection)
        connection.start()

    def _closed(self, connection: HttpConnection) -> None:
        self._connections.discard(connection)

    def drain(self) -> None:
        self._draining = True
        for connection in list(self._connections):
            connection.drain()

    def close(self) -> None:
        for connection in list(self._connections):
            connection.close()

    @property
    def active(self) -> int:
        return len(self._connections)

    def __repr__(self) -> str:
        return f"<HttpNetworkFilter {self.settings.stat_prefix} connections={self.active}>"
