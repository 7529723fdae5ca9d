"""HTTP/1.1 by h11: the strict reference, `--http1-codec h11`.

h11 judges a whole conversation; here it only reads one message at a time. Each message gets a connection object of its
own, since h11 ties reading the next to having answered the last, and who answers is not a decoder's business. Checks and
details are those of `h1_rules`, so both decoders refuse the same bytes; where h11 alone is stricter (a Host that is missing
or repeated in HTTP/1.1, several blanks in the request line) its answer is 400.
Invariant: what a feed delivers does not depend on where the bytes were split.
Reference: RFC 9112; h11 documentation, "Supported HTTP features".
"""

from __future__ import annotations

import re

import h11

from proxy.http.codec import h1_rules
from proxy.http.codec.interface import (
    MAX_HEADERS_BYTES,
    MAX_HEADERS_COUNT,
    CodecError,
    Headers,
    Message,
    Request,
    RequestDecoder,
    Response,
    ResponseDecoder,
)

# The methods Envoy's parser knows; it refuses others unless told to allow custom ones.
METHODS = frozenset(
    b"ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE MSEARCH NOTIFY "
    b"OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK "
    b"UNSUBSCRIBE".split()
)
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_BLANK_LINES = re.compile(rb"(?:\r?\n)+")
# Fields of which h11 keeps one where it saw several; Envoy refuses them.
_LENGTH_FIELD = re.compile(rb"\n(?i:content-length)[ \t]*:[ \t]*([^\r\n]*)")
_FOLDED = re.compile(rb"\n[ \t]")
_CONTROL = re.compile(rb"(?:\n|\A[!#-~]+ +/)[^\n]*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_OTHER_VERSION = re.compile(rb"\S+ +\S+(?: +HTTP/(?!1\.[01]\r?\n)[0-9]\.[0-9])?\r?\n")
# What stands in a head besides names, values and target: separators, line ends, method and version.
_PER_FIELD, _REQUEST_LINE = 4, 64


def _refusal(error: h11.ProtocolError) -> CodecError:
    text = str(error)
    if "Missing mandatory Host" in text:
        return CodecError(400, "missing_host_header")
    return h1_rules.refusal(text)


def _read(connection: h11.Connection, message: Message) -> bool:
    """Move body bytes and trailers into the message; whether it is complete. Raises h11's error."""
    while True:
        event = connection.next_event()
        if type(event) is h11.Data:
            message.chunks.append(bytes(event.data))
        elif type(event) is h11.EndOfMessage:
            trailers = list(event.headers)
            if trailers:
                message.trailers = trailers
            message.complete = True
            return True
        else:
            return False


class H11RequestDecoder(RequestDecoder):
    """See `RequestDecoder`."""

    __slots__ = (
        "_buffer",
        "_closed",
        "_connection",
        "_max_bytes",
        "_max_count",
        "_opaque",
        "_request",
        "_tail",
    )

    def __init__(
        self, max_headers_bytes: int = MAX_HEADERS_BYTES, max_headers_count: int = MAX_HEADERS_COUNT
    ) -> None:
        self.requests: list[Request] = []
        self._max_bytes = max_headers_bytes
        self._max_count = max_headers_count
        self._buffer = b""  # a head that is not complete
        self._connection: h11.Connection | None = None  # reads the body of `_request`
        self._request: Request | None = None
        self._tail: bytes | None = None  # what followed the head of an undecided upgrade
        self._opaque = False
        self._closed = False  # the last request asked for the end of the connection

    @property
    def idle(self) -> bool:
        return self._request is None and self._tail is None and not self._buffer

    def feed(self, data: bytes) -> None:
        if self._opaque:
            assert self._request is not None
            self._request.chunks.append(data)
        elif self._tail is not None:
            self._tail += data
        else:
            try:
                self._parse(data)
            except h11.RemoteProtocolError as error:
                raise _refusal(error) from None

    def _parse(self, data: bytes) -> None:
        while data:
            if self._connection is not None:
                data = self._read_body(data)
            else:
                data = self._read_head(data)
                if self._tail is not None:
                    self._tail = data
                    return

    def _read_head(self, data: bytes) -> bytes:
        """Read up to the end of a head; what follows it."""
        data = self._buffer + data
        blank = _BLANK_LINES.match(data)
        if blank is not None:
            start = blank.end()
            data = data[start:]
        if self._closed:
            return b""  # what follows a request that ends the connection is not looked at, as in Envoy
        end = _END_OF_HEAD.search(data)
        if end is None:
            self._check_unfinished(data)
            self._buffer = data
            return b""
        self._buffer = b""
        size = end.end()
        self._begin(data[:size])
        return data[size:]

    def _check_unfinished(self, head: bytes) -> None:
        if head[:1] < b"!" and head.strip(b"\r"):
            raise CodecError(400, "http1.codec_error")
        if len(head) > self._max_bytes + _PER_FIELD * self._max_count + _REQUEST_LINE:
            raise CodecError(431, "http1.headers_too_large")

    def _begin(self, head: bytes) -> None:
        _check_head(head)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + self._max_bytes)
        connection.receive_data(head)
        event = connection.next_event()
        assert type(event) is h11.Request
        request = _request(event)
        if request.method not in METHODS:
            raise CodecError(400, "http1.codec_error")
        if len(request.headers) > self._max_count:
            raise CodecError(431, "http1.too_many_headers")
        h1_rules.check_request(request)
        if h1_rules.head_size(request) > self._max_bytes:
            raise CodecError(431, "http1.headers_too_large")
        self.requests.append(request)
        if request.upgrade:
            self._tail = b""
            request.complete = True
        else:
            self._request, self._connection = request, connection
            self._advance()

    def _read_body(self, data: bytes) -> bytes:
        assert self._connection is not None
        self._connection.receive_data(data)
        return self._advance()

    def _advance(self) -> bytes:
        """Let h11 read on; what it left unread behind the end of the message."""
        connection, request = self._connection, self._request
        assert connection is not None
        assert request is not None
        if not _read(connection, request):
            return b""
        self._connection = self._request = None
        self._closed = not request.keep_alive
        return connection.trailing_data[0]

    def accept_upgrade(self) -> None:
        request = self.requests[-1]
        request.complete = False
        self._request = request
        self._opaque = True
        if self._tail:
            request.chunks.append(self._tail)
        self._tail = None

    def refuse_upgrade(self) -> None:
        request, tail = self.requests[-1], self._tail or b""
        self._tail = None
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2 * self._max_bytes)
        framing = [pair for pair in request.headers if pair[0] in (b"content-length", b"transfer-encoding")]
        lines = [name + b": " + value for name, value in framing]
        # The same framing again, without what made it an upgrade.
        connection.receive_data(b"\r\n".join([b"POST / HTTP/1.1", b"host: -", *lines, b"\r\n"]))
        connection.next_event()
        request.complete = False
        self._request, self._connection = request, connection
        self._advance()
        self.feed(tail)

    def close(self) -> None:
        self._connection = None


def _check_head(head: bytes) -> None:
    """What h11 would quietly make good, or name less exactly than Envoy."""
    if _OTHER_VERSION.match(head):
        raise CodecError(426, "low_version")
    if _CONTROL.search(head):
        raise CodecError(400, "http1.invalid_characters")
    lengths = _LENGTH_FIELD.findall(head)
    if len(lengths) > 1 or (lengths and b"," in lengths[0]):
        raise CodecError(400, "http1.codec_error")
    if _FOLDED.search(head):
        raise CodecError(400, "http1.codec_error")


def _request(event: h11.Request) -> Request:
    request = Request()
    request.method, request.target = event.method, event.target
    version = event.http_version.decode()
    request.version = "HTTP/" + version
    request.headers = headers = list(event.headers)
    request.keep_alive = h1_rules.keeps_alive(version, headers)
    request.upgrade = event.method == b"CONNECT" or _asks_upgrade(headers)
    return request


def _asks_upgrade(headers: Headers) -> bool:
    if not any(name == b"upgrade" for name, _ in headers):
        return False
    options = b",".join(value.lower() for name, value in headers if name == b"connection")
    return b"upgrade" in [option.strip() for option in options.split(b",")]


class H11ResponseDecoder(ResponseDecoder):
    """See `ResponseDecoder`."""

    __slots__ = ("_connection", "_method", "_opaque")

    def __init__(self) -> None:
        self.response = Response()
        self.response.complete = True  # nothing is expected yet
        self.informational: list[tuple[int, Headers]] = []
        self._method = b""
        self._opaque = False
        self._connection: h11.Connection | None = None

    def expect(self, method: bytes) -> Response:
        self._method = method
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * MAX_HEADERS_BYTES)
        # h11 takes a 101 only for an answer to an Upgrade; whether one was sent is the sender's business.
        asked = [(b"host", b"-"), (b"connection", b"upgrade"), (b"upgrade", b"-")]
        connection.send(h11.Request(method=method, target=b"/", headers=asked))
        connection.send(h11.EndOfMessage())
        self._connection = connection
        self.response = response = Response()
        return response

    def feed(self, data: bytes) -> None:
        response, connection = self.response, self._connection
        if self._opaque:
            response.chunks.append(data)
            return
        if response.complete or connection is None:
            raise CodecError(502, "http1.codec_error")
        try:
            connection.receive_data(data)
            self._read(connection)
            response.begun = bool(response.status or connection.trailing_data[0])
        except h11.RemoteProtocolError as error:
            raise _refusal(error) from None

    def _read(self, connection: h11.Connection) -> None:
        response = self.response
        while not response.status:
            event = connection.next_event()
            if type(event) is h11.InformationalResponse and event.status_code != 101:
                self.informational.append((event.status_code, list(event.headers)))
            elif isinstance(event, h11.InformationalResponse | h11.Response):
                self._begin(event)
            else:
                return
        if response.status == 101:
            self._opaque = True
            if connection.trailing_data[0]:
                response.chunks.append(connection.trailing_data[0])
        elif _read(connection, response) and connection.trailing_data[0]:
            response.reusable = False  # bytes behind the response: usable, the connection is not

    def _begin(self, event: h11.InformationalResponse | h11.Response) -> None:
        response, status = self.response, event.status_code
        response.headers = list(event.headers)
        response.fields = fields = dict(response.headers)
        if b"content-length" in fields and b"transfer-encoding" in fields:
            raise CodecError(400, "http1.content_length_and_chunked_not_allowed")
        response.framed_by_eof = (
            status != 101 and self._method != b"HEAD" and h1_rules.body_until_eof(status, fields)
        )
        keeps_alive = h1_rules.keeps_alive(event.http_version.decode(), response.headers)
        response.reusable = keeps_alive and not response.framed_by_eof and status != 101
        response.status = status

    def feed_eof(self) -> None:
        response, connection = self.response, self._connection
        if response.complete:
            return
        if self._opaque:
            response.complete = True
            return
        if connection is None or not response.framed_by_eof:
            raise CodecError(502, "http1.codec_error")
        connection.receive_data(b"")
        _read(connection, response)

    def close(self) -> None:
        self._connection = None
