"""One attempt at one host: from asking the pool for a connection to the end of the response.

It collects what pool and connection report and wakes the request's coroutine; the decisions are the router's.
Invariant: whatever happens, `end` or `abandon` gives connection or waiting place back exactly once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from proxy.router.message import UpstreamResponse
from proxy.router.stream import DownstreamStream, Headers, Wakeable
from proxy.upstream.failure import UpstreamReset

if TYPE_CHECKING:
    from proxy.upstream.host import Host
    from proxy.upstream.pool import ConnectionPool


class UpstreamConnection(Protocol):
    """What the router needs of a pooled HTTP connection."""

    requests: int
    local_address: str
    peer_uri_san: str | None
    informational: list[tuple[int, Headers]]
    """1xx responses not yet passed on; the router clears the list."""

    def begin(self, method: bytes, exchange: Any) -> UpstreamResponse: ...

    def send_request(
        self, stream: DownstreamStream, headers: Headers, chunks: list[bytes], end: bool
    ) -> None:
        """Send the head and what there is of the body."""

    def send_body(self, stream: DownstreamStream, chunks: list[bytes], end: bool) -> None: ...

    @property
    def congested(self) -> bool: ...

    def hold(self, paused: bool) -> None:
        """Stop or resume reading the response."""

    def finish(self, *, reusable: bool) -> None: ...

    def abandon(self) -> None: ...


class UpstreamAttempt:
    """Waiter of the pool and exchange of the connection."""

    __slots__ = (
        "_flow",
        "connection",
        "ended",
        "failure",
        "host",
        "on_response_progress",
        "pool",
        "request_sent",
        "response",
    )

    def __init__(self, flow: Wakeable, host: Host, pool: ConnectionPool) -> None:
        self._flow = flow
        self.on_response_progress = flow.wake
        self.host = host
        self.pool = pool
        self.connection: UpstreamConnection | None = None
        self.response: UpstreamResponse | None = None
        self.failure: UpstreamReset | None = None
        self.request_sent = False
        self.ended = False

    # The pool reports.

    def on_pool_ready(self, connection: Any) -> None:
        self.connection = connection
        self._flow.wake()

    def on_pool_failure(self, failure: UpstreamReset) -> None:
        self.failure = failure
        self._flow.wake()

    # The connection reports.

    def on_upstream_reset(self, failure: UpstreamReset) -> None:
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
