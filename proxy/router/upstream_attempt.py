"""One attempt at one host: from asking the pool for a connection to the end of the response.

It collects what pool and connection report and wakes the request's coroutine; the decisions are the router's.
Invariant: whatever happens, `end` or `abandon` gives connection or waiting place back exactly once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.router.message import UpstreamResponse
from proxy.router.stream import Headers, UpstreamRequest, Wakeable
from proxy.upstream.failure import UpstreamReset
from proxy.upstream.pool import ConnectionPool, PooledConnection, Waiter

if TYPE_CHECKING:
    from proxy.upstream.host import Host


class UpstreamConnection(PooledConnection):
    """What the router needs of a pooled HTTP connection."""

    __slots__ = ("informational", "local_address", "peer_uri_san")

    local_address: str
    peer_uri_san: str | None
    informational: list[tuple[int, Headers]]
    """1xx responses not yet passed on; the router clears the list."""

    def begin(self, method: bytes, exchange: UpstreamAttempt) -> UpstreamResponse:
        """The request goes out now; the response it will get."""
        raise NotImplementedError

    def send_request(
        self, request: UpstreamRequest, headers: Headers, chunks: list[bytes], end: bool
    ) -> None:
        """Send the head and what there is of the body."""
        raise NotImplementedError

    def send_body(self, request: UpstreamRequest, chunks: list[bytes], end: bool) -> None:
        """More of the request body."""
        raise NotImplementedError

    @property
    def congested(self) -> bool:
        """The upstream reads slower than we send."""
        raise NotImplementedError

    def hold(self, paused: bool) -> None:
        """Stop or resume reading the response."""
        raise NotImplementedError

    def finish(self, *, reusable: bool) -> None:
        """The response is complete. `reusable`: the request is, too, and neither side wants to close."""
        raise NotImplementedError

    def abandon(self) -> None:
        """The exchange is given up: HTTP/1.1 can only close."""
        raise NotImplementedError


class UpstreamAttempt(Waiter):
    """Waiter of the pool and exchange of the connection."""

    __slots__ = ("_flow", "connection", "ended", "failure", "host", "pool", "request_sent", "response")

    def __init__(self, flow: Wakeable, host: Host, pool: ConnectionPool) -> None:
        self._flow = flow
        self.host = host
        self.pool = pool
        self.connection: UpstreamConnection | None = None
        self.response: UpstreamResponse | None = None
        self.failure: UpstreamReset | None = None
        self.request_sent = False
        self.ended = False

    # The pool reports.

    def on_pool_ready(self, connection: PooledConnection) -> None:
        assert isinstance(connection, UpstreamConnection)  # pools of HTTP clusters hold HTTP connections
        self.connection = connection
        self._flow.wake()

    def on_pool_failure(self, failure: UpstreamReset) -> None:
        self.failure = failure
        self._flow.wake()

    # The connection reports.

    def on_response_progress(self) -> None:
        """The response grew, or the connection takes more of the request again."""
        self._flow.wake()

    def on_upstream_reset(self, failure: UpstreamReset) -> None:
        """The connection is gone before the response was complete."""
        self.failure = failure
        self.connection = None
        self._flow.wake()

    # The router decides.

    def end(self, *, reusable: bool) -> None:
        """The response is complete."""
        self.ended = True
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.finish(reusable=reusable)

    def abandon(self) -> None:
        """Give the attempt up, wherever it stands. Harmless after `end`."""
        connection, self.connection = self.connection, None
        if connection is not None:
            if self.response is None:
                connection.finish(reusable=True)
            else:
                connection.abandon()
        elif self.response is None and self.failure is None:
            self.pool.cancel(self)

    def __repr__(self) -> str:
        return f"<UpstreamAttempt {self.host.name} {self.response or self.failure or 'waiting'}>"
