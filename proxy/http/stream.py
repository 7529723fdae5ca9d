"""One request and its response on an HTTP/1.1 connection: what filters and router work with.

Is the `proxy.router.stream.DownstreamStream` of HTTP/1.1: writes the response with the framing RFC 9112 and Envoy ask for, and
runs the response hooks. Decides no route and no retry. Invariant: at most one response head, and after `ended` nothing
is written. Head and body that are there together leave in one write.
Reference: Envoy source/common/http/http1/codec_impl.cc `StreamEncoderImpl::encodeHeadersBase`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from proxy.clock import http_date
from proxy.http import local_reply
from proxy.http.codec import Request, h1_encode
from proxy.http.local_reply import LocalReply
from proxy.http.request_headers import RESPONSE_REMOVED
from proxy.observability.stream_info import StreamInfo
from proxy.router.header_ops import without
from proxy.router.route import Route
from proxy.router.stream import DownstreamStream

if TYPE_CHECKING:
    from proxy.http.conn_manager import HttpConnection

Headers = list[tuple[bytes, bytes]]
ResponseEdit = Callable[[int, Headers], None]
READ_AHEAD_LIMIT = 1024 * 1024  # bytes; Envoy's per_connection_buffer_limit_bytes
_NOTHING: Final[Mapping[str, Any]] = {}
_NO_FIELDS: Final[dict[bytes, bytes]] = {}


class Stream(DownstreamStream):
    """`headers` are the request's, as mutated so far. `filter_state` is for filters to leave word for each other.

    `filter_config` is what the route says to filters, by their names. `target` is the destination of the route once it is
    drawn. `response_edits` change the response's head before the filters' hooks do. `response_fields` are the headers an upstream
    sent, by name; there are none in a reply made here.
    """

    __slots__ = (
        "_ahead",
        "_chunking",
        "_connection",
        "_settings",
        "closes",
        "ended",
        "filter_config",
        "filter_state",
        "keep_alive",
        "reads_ahead",
        "response_edits",
        "response_fields",
        "route",
    )

    def __init__(self, connection: HttpConnection, request: Request, info: StreamInfo) -> None:
        self._connection = connection
        self._settings = connection.settings
        self.flow = connection.flow
        self.body = request
        self.body_framed = request.framed
        self.body_chunked = request.chunked
        self.keep_alive = request.keep_alive
        self.headers = request.headers
        self.fields = request.fields
        self.method = request.method
        self.path = request.target
        self.authority = b""
        self.scheme = b"http"
        self.info = info
        self.upgrade = None
        self.route: Route | None = None
        self.target = None
        self.filter_config: Mapping[str, Any] = _NOTHING
        self.response_edits: tuple[ResponseEdit, ...] = ()
        self.original_destination = connection.original_destination
        self.hash_key = None
        self.alpn_override = None
        self.filter_state: dict[str, Any] | None = None
        self.response_fields: dict[bytes, bytes] = _NO_FIELDS
        self.response_started = False
        self.internal = False
        self.response_spelling = None
        self.ended = False
        self.closes = False  # the connection ends with this response
        self._chunking = False
        self.reads_ahead = False
        self._ahead = 0  # bytes of the body that were counted before anybody took them

    @property
    def connection(self) -> HttpConnection:
        """The connection it came on."""
        return self._connection

    # The request body.

    def take_body(self) -> list[bytes]:
        chunks = self.body.take()
        for chunk in chunks:
            self.info.bytes_received += len(chunk)
        if self._ahead:
            self.info.bytes_received -= self._ahead
            self._ahead = 0
        self._connection.resume_upload()
        return chunks

    def read_ahead(self) -> bool:
        """While a filter holds the request back (`reads_ahead`): count what has arrived, and let more come, up to the limit."""
        chunks = self.body.chunks
        if len(chunks) > 1:
            chunks[:] = [b"".join(chunks)]  # chunks of two bytes would take thirty times what they hold
        size = len(chunks[0]) if chunks else 0
        self.info.bytes_received += size - self._ahead
        self._ahead = size
        if size > READ_AHEAD_LIMIT:
            return False
        self._connection.resume_upload()
        return True

    def hold_upload(self) -> None:
        self._connection.hold_reading()

    # The response.

    @property
    def request_trailers(self) -> Headers | None:
        return self.body.trailers if self._settings.enable_trailers else None

    @property
    def congested(self) -> bool:
        return self._connection.connection.congested

    def send_informational(self, status: int, headers: Headers) -> None:
        if status == 100 and self._settings.proxy_100_continue:
            self._connection.connection.write(h1_encode.response_head(status, headers))

    def send_response(
        self,
        status: int,
        headers: Headers,
        fields: dict[bytes, bytes],
        chunks: list[bytes],
        end: bool,
        trailers: Headers | None,
    ) -> None:
        """See DownstreamStream; `fields` indexes the upstream's headers as received."""
        settings = self._settings
        overwrite = settings.overwrites_server
        self.response_fields = fields
        if status == 101 and self.upgrade is not None:
            self._switch_protocols(headers, chunks, end)
            return
        if not RESPONSE_REMOVED.isdisjoint(fields):
            headers = [pair for pair in headers if pair[0] not in RESPONSE_REMOVED]
            if overwrite:
                headers = [pair for pair in headers if pair[0] != b"server"]
        elif overwrite and b"server" in fields:
            headers = without(headers, fields, b"server")
        if status == 204 and b"content-length" in fields:
            headers = [pair for pair in headers if pair[0] != b"content-length"]
        if b"date" not in fields:
            headers.append((b"date", http_date.value(self._connection.wall())))
        if settings.server_name and (overwrite or b"server" not in fields):
            headers.append((b"server", settings.server_name))
        self._begin(status, headers, b"content-length" in fields, end and not chunks, chunks, end, trailers)

    def _switch_protocols(self, headers: Headers, chunks: list[bytes], end: bool) -> None:
        """101: from here on the body is whatever the two sides agreed on, unframed."""
        headers = [pair for pair in headers if pair[0] not in (b"date", b"server")]
        headers.append((b"date", http_date.value(self._connection.wall())))
        headers.append((b"server", self._settings.server_name))
        self.closes = True
        self._start(101, headers)
        if self.response_spelling is not None:
            headers = h1_encode.respelled(headers, self.response_spelling)
        self._write(h1_encode.response_head(101, headers), chunks, end)

    def send_local_reply(
        self,
        status: int,
        body: bytes,
        flags: int,
        details: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        self.reply(LocalReply(status, body, flags, details, headers))

    def reply(self, reply: LocalReply) -> None:
        """Answer here, in the shape the request's content type asks for."""
        info = self.info
        # As in Envoy a body that nobody took ends the connection, and so does every bad request.
        unread = self.body.chunks and not self._ahead
        if reply.status == 400 or unread:
            self._connection.linger()
        if unread and self.body.complete:
            self._connection.count_early_response()
        info.response_flags |= reply.flags
        info.response_code_details = reply.details
        grpc = local_reply.is_grpc(self.body.fields.get(b"content-type"))
        status, headers, body, info.grpc_status = local_reply.render(reply, grpc=grpc)
        if not (reply.headers and any(name == b"date" for name, _ in headers)):
            headers.append((b"date", http_date.value(self._connection.wall())))
        if self._settings.server_name:
            headers.append((b"server", self._settings.server_name))
        chunks = [body] if body and self.method != b"HEAD" else []
        self._begin(status, headers, bool(body), not chunks, chunks, True, None)

    def _begin(
        self,
        status: int,
        headers: Headers,
        has_length: bool,
        bodiless: bool,
        chunks: list[bytes],
        end: bool,
        trailers: Headers | None,
    ) -> None:
        if self._connection.closes_after(self):
            self.closes = True
            headers.append((b"connection", b"close"))
        self._start(status, headers)
        if not has_length and status not in (101, 204, 304):
            if bodiless and self.method != b"HEAD":
                headers.append((b"content-length", b"0"))
            else:
                headers.append((b"transfer-encoding", b"chunked"))
                self._chunking = not bodiless
        if self.response_spelling is not None:
            headers = h1_encode.respelled(headers, self.response_spelling)
        head = h1_encode.response_head(status, headers)
        if self._chunking:
            self._write_chunked(head, chunks, end, trailers)
        else:
            self._write(head, chunks, end)

    def _start(self, status: int, headers: Headers) -> None:
        """Run the response hooks over the head and note it."""
        for edit in self.response_edits:
            edit(status, headers)
        for one in self._settings.chain.of_responses:
            one.on_response_headers(self, status, headers)
        info = self.info
        info.response_code = status
        info.response_headers = headers
        self.response_started = True

    def send_body(self, chunks: list[bytes], end: bool, trailers: Headers | None) -> None:
        if self._chunking:
            self._write_chunked(b"", chunks, end, trailers)
        else:
            self._write(b"", chunks, end)

    def _write(self, head: bytes, chunks: list[bytes], end: bool) -> None:
        """One write for head and body; `end` ends the stream."""
        body = chunks[0] if len(chunks) == 1 else h1_encode.joined(chunks)
        if body is None or len(body) > h1_encode.JOINED:
            self._connection.connection.write_pieces([head, *chunks])
            self.info.bytes_sent += sum(map(len, chunks))
        else:
            self._connection.connection.write(head + body if head else body)
            self.info.bytes_sent += len(body)
        self.ended = end

    def _write_chunked(self, head: bytes, chunks: list[bytes], end: bool, trailers: Headers | None) -> None:
        tail = b""
        if end:
            tail = h1_encode.last_chunk(trailers if self._settings.enable_trailers else None)
        self._connection.connection.write_pieces(h1_encode.chunked(head, chunks, tail))
        self.info.bytes_sent += sum(map(len, chunks))
        self.ended = end

    def reset(self, flags: int, details: str) -> None:
        """Break the response off: HTTP/1.1 can only close the connection."""
        self.info.response_flags |= flags
        self.info.response_code_details = details
        self._connection.abort()

    def __repr__(self) -> str:
        return f"<Stream {self.method.decode('latin-1')} {self.authority!r}{self.path!r} {self.info.response_code}>"
