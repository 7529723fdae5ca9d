"""An HTTP/1.1 connection to an upstream: one exchange at a time, idle in its pool between them.

Turns what the socket and the decoder say into a growing Response and a wake of whoever waits for it. Decides nothing
about retries or routes. Invariant: an exchange ends once, by `finish` or by `abandon`, and gives the connection back.
Reference: Envoy source/common/http/http1/conn_pool.cc, source/common/http/codec_client.cc.
"""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.deadlines import Deadline, Deadlines
from proxy.http.codec import CodecError, Http1Codec, Response, h1_encode
from proxy.net.tls_connection import connection_on
from proxy.net.tls_socket import Established
from proxy.router.stream import Headers, UpstreamRequest
from proxy.router.upstream_attempt import UpstreamAttempt, UpstreamConnection
from proxy.tls.engine import TlsEngine
from proxy.upstream.failure import ResetReason, UpstreamReset
from proxy.upstream.pool import ConnectionPool

_CHUNKED: Final = (b"transfer-encoding", b"chunked")
_EMPTY: Final = (b"content-length", b"0")
# Envoy's encoder says of every other method that there is no body, where there is none.
_BODILESS: Final = frozenset({b"GET", b"HEAD", b"DELETE", b"TRACE", b"CONNECT"})


class ClientConnection(UpstreamConnection):
    """Belongs to `pool` from its creation to its end."""

    __slots__ = (
        "_chunking",
        "_deadline",
        "_deadlines",
        "_decoder",
        "_ended",
        "_exchange",
        "_idle_since",
        "_idle_timeout",
        "_lifetime",
        "_now",
        "_trailers",
        "connection",
        "pool",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        end: Established,
        pool: ConnectionPool,
        codec: Http1Codec,
    ) -> None:
        self.pool = pool
        self.requests = 0
        self.draining = False
        self._ended = False  # by the upstream
        self.connection = connection_on(loop, end, self)
        host, port = self.connection.sock.getsockname()[:2]
        self.local_address = f"{host}:{port}"
        if pool.cluster.preserve_case:
            codec = codec.preserving_case()
        self._decoder = codec.response_decoder()
        self.informational = self._decoder.informational  # 1xx responses not yet passed on
        self._exchange: UpstreamAttempt | None = None
        self._chunking = False
        self._trailers = pool.cluster.enable_trailers
        self.peer_uri_san = None
        tls = self.connection.tls
        if tls is not None:
            self.peer_uri_san = tls.peer.uri_san if tls.peer is not None else None
            if tls.session_reused:
                pool.cluster.stats.count_session_reused()
        self._deadlines = deadlines
        self._now = deadlines.now
        self._idle_timeout = pool.cluster.idle_timeout
        self._idle_since = deadlines.now()
        self._deadline: Deadline | None = None
        if self._idle_timeout:
            self._deadline = deadlines.after(self._idle_timeout, self._check_idle)
        self._lifetime: Deadline | None = None
        if pool.cluster.max_connection_duration:
            self._lifetime = deadlines.after(pool.cluster.max_connection_duration, self._too_old)
        self.connection.start()

    # The exchange.

    def begin(self, method: bytes, exchange: UpstreamAttempt) -> Response:
        self._exchange = exchange
        return self._decoder.expect(method)

    def send_request(
        self, request: UpstreamRequest, headers: Headers, chunks: list[bytes], end: bool
    ) -> None:
        """As the base; in one write."""
        self._chunking = request.body_chunked
        if request.body_chunked:
            headers = [*headers, _CHUNKED]
        elif end and not request.body_framed and request.method not in _BODILESS and not _has_length(headers):
            headers = [*headers, _EMPTY]
        if request.body.spelling is not None:
            headers = h1_encode.respelled(headers, request.body.spelling)
        head = h1_encode.request_head(request.method, request.path, headers)
        if chunks or self._chunking:
            self._send(head, chunks, end, request)
        else:
            self.connection.write(head)

    def send_body(self, request: UpstreamRequest, chunks: list[bytes], end: bool) -> None:
        self._send(b"", chunks, end, request)

    def _send(self, head: bytes, chunks: list[bytes], end: bool, request: UpstreamRequest) -> None:
        if self._chunking:
            tail = h1_encode.last_chunk(request.request_trailers if self._trailers else None) if end else b""
            pieces = h1_encode.chunked(head, chunks, tail)
        else:
            body = h1_encode.joined(chunks)
            pieces = [head, *chunks] if body is None else [head + body]
        self.connection.write_pieces(pieces)

    @property
    def congested(self) -> bool:
        return self.connection.congested

    def hold(self, paused: bool) -> None:
        if paused:
            self.connection.pause_reading()
        else:
            self.connection.resume_reading()

    def finish(self, *, reusable: bool) -> None:
        self._exchange = None
        if reusable and not self.connection.closed:
            self._idle_since = self._now()
            self.pool.release(self)
        else:
            self.pool.discard(self, remote=self._ended, active=False)

    def abandon(self) -> None:
        if self._exchange is not None:
            self._exchange = None
            self.pool.discard(self)

    def close(self) -> None:
        for deadline in (self._deadline, self._lifetime):
            if deadline is not None:
                self._deadlines.disarm(deadline)
        self._deadline = self._lifetime = None
        if self.connection.tls is not None and self.requests and not self.connection.closed:
            self._keep_session(self.connection.tls)
        stats = self.pool.cluster.stats
        stats.upstream_cx_rx_bytes_total.value += self.connection.bytes_in
        stats.upstream_cx_tx_bytes_total.value += self.connection.bytes_out
        self.connection.close()
        self._decoder.close()

    def _keep_session(self, engine: TlsEngine) -> None:
        """With the answers came the ticket for the next connection's handshake."""
        tls, options = self.pool.transport.tls, self.pool.options
        if tls is not None:
            tls.keep_session((self.pool.host.address, options), engine, options.alpn)

    # What the connection says.

    def on_data(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self._idle_closed(
                remote=False
            )  # nobody asked: an answer nobody waits for must not meet the next request
            return
        try:
            self._decoder.feed(data)
        except CodecError:
            self._offended()
            return
        if not self._trailers:
            self._decoder.response.trailers = None  # as Envoy's codec, which drops them unless told otherwise
        exchange.on_response_progress()

    def on_burst(self, pieces: list[bytes]) -> None:
        last, exchange, decoder = pieces.pop(), self._exchange, self._decoder
        if exchange is not None:
            try:
                for piece in pieces:
                    decoder.feed(piece)
                    if decoder.response.complete:
                        decoder.response.reusable = False  # there is more: as behind any response
                        if not self._trailers:
                            decoder.response.trailers = None
                        exchange.on_response_progress()
                        return
            except CodecError:
                self._offended()
                return
        self.on_data(last)

    def _offended(self) -> None:
        self.pool.cluster.stats.upstream_cx_protocol_error.value += 1
        self._reset(UpstreamReset(ResetReason.PROTOCOL_ERROR), remote=False)

    def on_eof(self) -> None:
        exchange = self._exchange
        self._ended = True
        if exchange is None:
            self._idle_closed(remote=True)
            return
        try:
            self._decoder.feed_eof()
        except CodecError:
            self._reset(UpstreamReset(self._end_reason()))
            return
        exchange.on_response_progress()

    def on_error(self, error: OSError) -> None:
        if self._exchange is None:
            self._idle_closed(remote=True)
        elif isinstance(error, ConnectionError):
            self.on_eof()  # as in Envoy, a reset ends a body that lasts until the connection ends
        else:
            self._reset(UpstreamReset(self._end_reason()))

    def _end_reason(self) -> ResetReason:
        """An end inside a message is the upstream's mistake, one before it is not."""
        begun = self._decoder.response.begun
        return ResetReason.PROTOCOL_ERROR if begun else ResetReason.CONNECTION_TERMINATION

    def on_drain(self) -> None:
        if self._exchange is not None:
            self._exchange.on_response_progress()

    def _reset(self, failure: UpstreamReset, *, remote: bool = True) -> None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        self.pool.discard(self, remote=remote)
        exchange.on_upstream_reset(failure)

    def _idle_closed(self, *, remote: bool) -> None:
        self.pool.on_idle_closed(self, remote=remote)
        self.close()

    def _too_old(self) -> None:
        self._lifetime = None
        self.pool.on_too_old(self)

    def _check_idle(self) -> None:
        due = self._idle_since + self._idle_timeout
        if self._exchange is None and self._now() >= due:
            self._deadline = None
            self.pool.cluster.stats.upstream_cx_idle_timeout.value += 1
            self._idle_closed(remote=False)
            return
        again = due if self._exchange is None else self._now() + self._idle_timeout
        self._deadline = self._deadlines.arm(again, self._check_idle)

    def __repr__(self) -> str:
        state = "idle" if self._exchange is None else "busy"
        return (
            f"<ClientConnection {self.pool.host.name} {state} requests={self.requests} {self.connection!r}>"
        )


def _has_length(headers: Headers) -> bool:
    return any(name == b"content-length" for name, _ in headers)
