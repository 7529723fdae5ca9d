"""A downstream HTTP/1.1 connection without its requests: opened, read, idle, drained, closed.

Decides when to read and when to end. What the requests are is its subclass' affair (`conn_manager`), as the coroutine
`_serve`. Invariants: `on_closed` is called once; after it no timer of the connection fires and nothing is written; a client
that must read why it is cut off gets time to do so.
Reference: Envoy source/common/http/conn_manager_impl.cc, source/common/network/connection_impl.cc (delayed close).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from proxy import clock
from proxy.deadlines import Deadline, Deadlines
from proxy.http.codec import CodecError
from proxy.http.settings import HcmSettings
from proxy.http.stream import Stream
from proxy.net.downstream import DownstreamFacts
from proxy.net.flow import Flow
from proxy.net.hangups import Hangups
from proxy.net.tls_connection import connection_on
from proxy.net.tls_socket import Established
from proxy.observability import logging

log = logging.logger("http")

_ASKED_AHEAD = 8
"""Requests held of one connection before it is read no further."""


class Disconnected(Exception):
    """The client is gone."""


class ServerConnection:
    """One connection from a client. `on_closed(connection)` is called once it is over."""

    __slots__ = (
        "_close_deadline",
        "_closing",
        "_codec_error",
        "_deadlines",
        "_decoder",
        "_hangups",
        "_headers_deadline",
        "_idle_deadline",
        "_idle_since",
        "_left",
        "_linger",
        "_on_closed",
        "_stream",
        "_upgraded",
        "_watched",
        "connection",
        "draining",
        "facts",
        "flow",
        "kept",
        "now",
        "original_destination",
        "settings",
        "wall",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        end: Established,
        facts: DownstreamFacts,
        settings: HcmSettings,
        hangups: Hangups,
        on_closed: Callable[[Any], None],
    ) -> None:
        self.settings = settings
        self.facts = facts
        self.connection = connection_on(loop, end, self)
        self.flow = Flow(self._on_flow_end)
        self.now = deadlines.now
        self.wall = clock.wall
        self.original_destination = facts.original_destination
        self.draining = False
        self.kept: dict[object, Any] = {}  # by filters, for as long as the connection lasts
        self._deadlines = deadlines
        self._hangups = hangups
        self._watched = False  # for its end, while it is not read
        self._on_closed: Callable[[Any], None] | None = on_closed
        self._decoder = settings.codec.request_decoder(settings.max_headers_bytes, settings.max_headers_count)
        self._codec_error: CodecError | None = None
        self._stream: Stream | None = None  # of the request at hand
        self._closing = False
        self._left = False  # the client, and was told to the flow
        self._linger = False  # we close, not the client: it gets time to read why
        self._close_deadline: Deadline | None = None
        self._idle_deadline: Deadline | None = None
        self._headers_deadline: Deadline | None = None
        self._idle_since = 0.0
        self._upgraded = False

    def start(self) -> None:
        """Begin to read and serve."""
        stats = self.settings.stats
        stats.downstream_cx_total.value += 1
        stats.downstream_cx_active.value += 1
        stats.downstream_cx_http1_total.value += 1
        stats.downstream_cx_http1_active.value += 1
        if self.facts.tls:
            stats.downstream_cx_ssl_total.value += 1
            stats.downstream_cx_ssl_active.value += 1
        self._idle_since = self.now()
        if self.settings.idle_timeout:
            self._idle_deadline = self._deadlines.after(self.settings.idle_timeout, self._check_idle)
        self.connection.start()
        self.flow.start(self._serve())

    def _serve(self) -> Coroutine[Any, Any, None]:
        """Answers one request after another; returns when the connection is to end."""
        raise NotImplementedError

    # What the connection says.

    def on_data(self, data: bytes) -> None:
        if self._closing or self._codec_error is not None:
            return  # answered already; what still comes is thrown away
        decoder = self._decoder
        try:
            decoder.feed(data)
        except CodecError as error:
            if self._told(error):
                return
        if self.settings.request_headers_timeout:
            self._watch_headers()
        self.flow.wake()
        requests = decoder.requests
        if requests and (len(requests) > 1 or requests[0].chunks) and self._holds_enough():
            self.hold_reading()  # until the request at hand is done, or its body taken

    def _holds_enough(self) -> bool:
        """A client that asks for more before it is answered is read on for a while: else nobody would see it leave."""
        stream, requests = self._stream, self._decoder.requests
        if len(requests) > 1:
            return len(requests) > _ASKED_AHEAD or bool(requests[-1].chunks)
        return stream is None or not stream.reads_ahead or not stream.read_ahead()

    def on_burst(self, pieces: list[bytes]) -> None:
        if self._closing or self._codec_error is not None:
            return
        last = pieces.pop()
        try:
            for piece in pieces:
                self._decoder.feed(piece)
        except CodecError as error:
            if not self._told(error):
                self.flow.wake()
            return
        self.on_data(last)

    def _told(self, error: CodecError) -> bool:
        """Whether the request at hand is the one that is broken, and was told; else it is what follows, or comes first."""
        stream, requests = self._stream, self._decoder.requests
        if stream is not None and not stream.body.complete and requests[-1] is stream.body:
            self.flow.throw(error)
            return True
        self._codec_error = error
        return False

    def _watch_headers(self) -> None:
        """A head that has begun must be complete in time."""
        begun = not self._decoder.idle and not self._decoder.requests
        if begun and self._headers_deadline is None:
            timeout = self.settings.request_headers_timeout
            self._headers_deadline = self._deadlines.after(timeout, self._headers_timed_out)
        elif not begun and self._headers_deadline is not None:
            self._deadlines.disarm(self._headers_deadline)
            self._headers_deadline = None

    def _headers_timed_out(self) -> None:
        self._headers_deadline = None
        if self._stream is None and not self._closing:
            self.settings.stats.downstream_rq_timeout.value += 1
            self._codec_error = CodecError(408, "request_header_timeout")
            self.flow.wake()

    def resume_upload(self) -> None:
        """The body that had arrived was taken."""
        connection = self.connection
        if not connection.reading and not connection.closed and len(self._decoder.requests) <= 1:
            self.read_on()

    def hold_reading(self) -> None:
        """Read no more for now. As in Envoy, a client that leaves meanwhile is noticed all the same."""
        connection = self.connection
        if connection.reading:
            connection.pause_reading()
            self._watched = True
            self._hangups.watch(connection.fd, self._on_hangup)

    def read_on(self) -> None:
        """Read again, unless the connection is closed."""
        if self._watched:
            self._watched = False
            self._hangups.forget(self.connection.fd)
        self.connection.resume_reading()

    def _on_hangup(self) -> None:
        self._watched = False
        self.on_eof()

    def on_eof(self) -> None:
        if self._closing:
            self._close()
        elif self.flow.done:
            return
        else:
            self._left = True
            self.flow.throw(Disconnected())

    def on_error(self, error: OSError) -> None:
        if self._closing:
            self._close()
        elif not self.flow.done:
            self.flow.throw(Disconnected())

    def on_drain(self) -> None:
        if self._closing and self._close_deadline is None:
            self._close()
        else:
            self.flow.wake()

    def drain(self) -> None:
        """The next answer ends the connection and says so. An idle one stays until then, as in Envoy: its client may just be asking."""
        self.draining = True

    def _check_idle(self) -> None:
        self._idle_deadline = None
        due = self._idle_since + self.settings.idle_timeout
        if self._stream is None and self.now() >= due:
            self.settings.stats.downstream_cx_idle_timeout.value += 1
            self.flow.throw(Disconnected())
            return
        again = due if self._stream is None else self.now() + self.settings.idle_timeout
        self._idle_deadline = self._deadlines.arm(again, self._check_idle)

    # The end of the connection.

    def abort(self) -> None:
        """Close, without the rest of a response; what was written is still sent."""
        self._linger = True

    def linger(self) -> None:
        """Close after this response, and give the client time to read it."""
        self._linger = True

    def _on_flow_end(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Disconnected):
            log.error("a request failed unexpectedly", exc_info=error)
        connection = self.connection
        self._closing = True
        if connection.closed or self._left or isinstance(error, Disconnected):
            self._close()
        elif self._linger or self._decoder.requests or not (self._decoder.idle or self._upgraded):
            self._close_later()
        elif connection.unsent:
            pass  # on_drain closes
        else:
            self._close()

    def _close_later(self) -> None:
        """The client may still be sending: give it time to read the answer before the socket goes away."""
        if not self.settings.delayed_close_timeout:
            self._close()
            return
        self._close_deadline = self._deadlines.after(self.settings.delayed_close_timeout, self._close)
        self.read_on()

    def _close(self) -> None:
        connection = self.connection
        for deadline in (self._close_deadline, self._idle_deadline, self._headers_deadline):
            if deadline is not None:
                self._deadlines.disarm(deadline)
        self._close_deadline = self._idle_deadline = self._headers_deadline = None
        if self._watched:
            self._watched = False
            self._hangups.forget(connection.fd)
        connection.close()
        on_closed, self._on_closed = self._on_closed, None
        if on_closed is None:
            return  # the end was reported already
        self._decoder.close()
        stats = self.settings.stats
        stats.downstream_cx_active.value -= 1
        stats.downstream_cx_http1_active.value -= 1
        stats.downstream_cx_destroy.value += 1
        stats.downstream_cx_rx_bytes_total.value += connection.bytes_in
        stats.downstream_cx_tx_bytes_total.value += connection.bytes_out
        if self.facts.tls:
            stats.downstream_cx_ssl_active.value -= 1
        self.facts.on_closed()
        on_closed(self)

    def close(self) -> None:
        """Break off whatever runs."""
        if not self.flow.done:
            self.flow.throw(Disconnected())
        self._close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.facts.remote_address} {self._stream or 'idle'} {self.connection!r}>"
