"""The request's body on its way from the client: to the attempt at hand, to mirrors, and kept for further attempts.

A request without a body has none of this. Takes from the client only what the upstream can be given, or what may be held.
Decides nothing about retries, but can rule them out: a body too long to keep is sent once.
Reference: Envoy source/common/router/router.cc `Filter::decodeData`; reference §5.8.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.router.mirror import Mirrors
from proxy.router.request_buffer import RequestBuffer
from proxy.router.stream import DownstreamStream
from proxy.router.upstream_attempt import UpstreamConnection


class BufferExceeded(Exception):
    """Between two attempts more of the body came than may be kept."""


class RequestFeed:
    """`keeps`: a further attempt is possible. `on_received` is told once the request is complete, `on_too_long` that no
    further attempt is possible; `mirrors` get what the attempt gets.
    """

    __slots__ = ("_buffer", "_on_received", "_on_too_long", "_stream", "mirrors", "received")

    def __init__(
        self,
        stream: DownstreamStream,
        on_received: Callable[[], None],
        on_too_long: Callable[[], None],
        *,
        keeps: bool,
    ) -> None:
        self._stream = stream
        self._on_received = on_received
        self._on_too_long = on_too_long
        self._buffer: RequestBuffer | None = RequestBuffer(keeps=True) if keeps else None
        self.mirrors: Mirrors | None = None
        self.received = False

    def hold(self, *, between_attempts: bool) -> None:
        """Nobody can be sent anything yet: hold what arrives, as far as that is allowed. Raises BufferExceeded."""
        if self.received:
            return
        if self._buffer is None:
            self._buffer = RequestBuffer(keeps=False)
        if self._buffer.keeps or not self._buffer.full:
            self._take(between_attempts=between_attempts)
        else:
            self._stream.hold_upload()

    def first(self) -> list[bytes]:
        """What goes out together with the head of an attempt."""
        chunks = [] if self.received else self._take()
        return chunks if self._buffer is None else self._buffer.take_unsent()

    def send(self, connection: UpstreamConnection) -> None:
        """Send on what has arrived, unless the upstream is slow."""
        if connection.congested:
            self._stream.hold_upload()
            return
        chunks = self._take()
        if self._buffer is not None:
            chunks = self._buffer.take_unsent()
        if chunks or self.received:
            connection.send_body(self._stream, chunks, self.received)

    def rewind(self) -> None:
        """A further attempt begins: nothing is sent yet."""
        if self._buffer is not None:
            self._buffer.rewind()

    def close(self) -> None:
        """The request is over; one that broke off takes its mirrors with it."""
        if self.mirrors is not None and not self.received:
            self.mirrors.cancel()

    def _take(self, *, between_attempts: bool = False) -> list[bytes]:
        stream, buffer = self._stream, self._buffer
        complete = stream.body.complete
        chunks = stream.take_body()
        if self.mirrors is not None:
            self.mirrors.send(chunks, complete, stream.request_trailers)
        if chunks and buffer is not None:
            buffer.add(chunks)
            if buffer.keeps and buffer.over:
                self._on_too_long()
                buffer.stop_keeping()
                if between_attempts:
                    raise BufferExceeded
        if complete:
            self.received = True
            self._on_received()
        return chunks

    def __repr__(self) -> str:
        return f"<RequestFeed {'complete' if self.received else 'open'} {self._buffer}>"
