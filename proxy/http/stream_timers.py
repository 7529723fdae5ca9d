"""How long one request may take on the client's side, and how long it may stand still.

Throws StreamTimeout into the connection's flow; what the client is then told is for the connection to send. Invariant: after
`end` no timer of the stream fires.
Reference: HttpConnectionManager `request_timeout` and `stream_idle_timeout`; Envoy source/common/http/conn_manager_impl.cc.
"""

from __future__ import annotations

from proxy.deadlines import Deadline, Deadlines
from proxy.http.local_reply import LocalReply
from proxy.http.settings import HcmSettings
from proxy.http.stream import Stream
from proxy.net.connection import Connection
from proxy.net.flow import Flow
from proxy.observability import response_flags as flags

_REQUEST_LATE = LocalReply(408, b"request timeout", details="request_overall_timeout")
_DURATION = b"downstream duration timeout"
_DEADLINE_EXCEEDED = 4  # gRPC status


class StreamTimeout(Exception):
    """The request took too long on the client's side or stood still; `reply` says so.

    `duration`: it lasted longer than its route allows, and its connection may stay.
    """

    def __init__(self, reply: LocalReply, *, duration: bool = False) -> None:
        super().__init__(reply.details)
        self.reply = reply
        self.duration = duration


class StreamTimers:
    """The timers of one connection's current stream."""

    __slots__ = ("_armed", "_connection", "_deadlines", "_flow", "_moved", "_settings", "_stream")

    def __init__(
        self, settings: HcmSettings, deadlines: Deadlines, connection: Connection, flow: Flow
    ) -> None:
        self._settings = settings
        self._deadlines = deadlines
        self._connection = connection
        self._flow = flow
        self._stream: Stream | None = None
        self._armed: list[Deadline] = []
        self._moved = -1

    def begin(self, stream: Stream) -> None:
        """A request's head was read."""
        settings, after = self._settings, self._deadlines.after
        self._stream = stream
        self._moved = -1
        if settings.request_timeout and not stream.body.complete:
            self._armed.append(after(settings.request_timeout, self._check_request_complete))
        if settings.stream_idle_timeout:
            self._armed.append(after(settings.stream_idle_timeout, self._check_idle))

    def limit_duration(self, stream: Stream, seconds: float) -> None:
        """The route allows the stream so many seconds since its head was read."""
        self._stream = stream
        self._armed.append(self._deadlines.arm(stream.info.start + seconds, self._on_duration))

    def end(self) -> None:
        """The stream is over."""
        self._stream = None
        for deadline in self._armed:
            self._deadlines.disarm(deadline)
        self._armed.clear()

    def _check_request_complete(self) -> None:
        if self._stream is not None and not self._stream.body.complete:
            self._flow.throw(StreamTimeout(_REQUEST_LATE))

    def _on_duration(self) -> None:
        if self._stream is not None:
            status = 504 if self._stream.body.complete else 408
            reply = LocalReply(
                status, _DURATION, details="max_duration_timeout", grpc_status=_DEADLINE_EXCEEDED
            )
            self._flow.throw(StreamTimeout(reply, duration=True))

    def _check_idle(self) -> None:
        """Looks once per period whether bytes have moved, so an idle stream ends after one to two periods at most."""
        stream, connection = self._stream, self._connection
        if stream is None:
            return
        moved = connection.bytes_in + connection.bytes_out - connection.unsent
        if moved != self._moved:
            self._moved = moved
            self._armed.append(self._deadlines.after(self._settings.stream_idle_timeout, self._check_idle))
            return
        status = 504 if stream.body.complete else 408
        reply = LocalReply(status, b"stream timeout", flags.SI, "stream_idle_timeout")
        self._flow.throw(StreamTimeout(reply))
