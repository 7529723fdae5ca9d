"""HTTP/1.1 by httptools (llhttp), which judges whatever is out of the ordinary; the default codec is built upon it (`h1_quick`).

The parser calls back while it runs; the callbacks only fill messages. What llhttp accepts and Envoy refuses (or the
other way round) is put right in `h1_rules`, so both HTTP/1.1 decoders refuse the same bytes.
Reference: llhttp 9, Envoy source/common/http/http1/codec_impl.cc and balsa_parser.cc.
"""

from __future__ import annotations

import httptools

from proxy.http.codec import h1_rules
from proxy.http.codec.interface import (
    MAX_HEADERS_BYTES,
    MAX_HEADERS_COUNT,
    CodecError,
    Headers,
    Request,
    RequestDecoder,
    Response,
    ResponseDecoder,
)

_SLACK = 64 * 1024  # bytes of an unfinished head beyond its limit: not all of them count as fields
# What is left of a body of known length when its head was parsed: from here on it passes the parser by, which would copy it.
_LONG = 64 * 1024


class HttptoolsRequestDecoder(RequestDecoder):
    """See `RequestDecoder`."""

    __slots__ = (
        "_closed",
        "_fed",
        "_fields",
        "_head_bytes",
        "_left",
        "_max_bytes",
        "_max_count",
        "_opaque",
        "_parser",
        "_request",
        "_tail",
    )

    def __init__(
        self, max_headers_bytes: int = MAX_HEADERS_BYTES, max_headers_count: int = MAX_HEADERS_COUNT
    ) -> None:
        self.requests: list[Request] = []
        self._max_bytes = max_headers_bytes
        self._max_count = max_headers_count
        self._parser: httptools.HttpRequestParser | None = None  # made for what is the first to need one
        self._request: Request | None = None  # the message being parsed
        self._fields: Headers = []  # where the next field line goes: headers, then trailers
        self._head_bytes = 0  # bytes of earlier feeds since an unfinished head began; one for its first
        self._fed = 0  # bytes of this feed
        self._tail: bytes | None = None  # what followed the head of an undecided upgrade
        self._opaque = False
        self._left = 0  # of a body: bytes that are not the parser's
        self._closed = False  # the last request asked for the end of the connection

    @property
    def idle(self) -> bool:
        return self._request is None and self._tail is None and not self._head_bytes

    def feed(self, data: bytes) -> None:
        before = self._request
        if before is not None and (self._left or self._opaque):
            self._feed_body(before, data)
            return
        if self._tail is not None:
            self._tail += data
            return
        self._fed = len(data)
        parser = self._parser
        if parser is None:
            parser = self._parser = self._new_parser()
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._tail = data[upgrade.args[0] :]
            return
        except httptools.HttpParserError as error:
            if isinstance(error, httptools.HttpParserInvalidURLError):
                raise h1_rules.bad_target(data) from None
            raise self._refusal(error) from None
        request = self._request
        if request is not None and request.method:
            if request is not before and request.framed and not request.chunked:
                self._pass_by(request)
            self._head_bytes = 0
        elif request is not None:
            # The first feed may have begun with a burst of other messages: what came since is the head's for sure.
            self._head_bytes = self._head_bytes + len(data) if request is before else 1
            if self._head_bytes > self._max_bytes + _SLACK or h1_rules.head_size(request) > self._max_bytes:
                raise CodecError(431, "http1.headers_too_large")
        elif self._head_bytes:
            self._head_bytes = 0

    def _pass_by(self, request: Request) -> None:
        """The head of `request` has just been parsed."""
        left = int(request.fields[b"content-length"]) - sum(map(len, request.chunks))
        if left >= _LONG and request.keep_alive and not request.upgrade:
            self._left = left

    def _feed_body(self, request: Request, data: bytes) -> None:
        left = self._left
        if self._opaque or len(data) < left:
            request.chunks.append(data)
            self._left = max(0, left - len(data))
            return
        request.chunks.append(data[:left])
        request.complete = True
        self._request = None
        self._left = 0
        self._parser = None  # it still waits for the body
        if len(data) > left:
            self.feed(data[left:])

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # As Envoy: blanks before a chunk extension are taken.
        parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
        _accept_bare_lf(parser, True)
        return parser

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
        self._tail = self._parser = None
        if request.framed:
            # llhttp would not parse the body behind an Upgrade head, so replay the framing without it.
            self._request, self._fields = None, []
            self._replay_framing(request)
        if tail:
            self.feed(tail)

    def close(self) -> None:
        self._parser = None  # it holds this decoder's methods

    def _replay_framing(self, request: Request) -> None:
        """Bring a fresh parser to the point behind the head of `request`, which then goes on filling."""
        framing = [
            name + b": " + value
            for name, value in request.headers
            if name in (b"content-length", b"transfer-encoding")
        ]
        self.requests.pop()
        self._parser = parser = self._new_parser()
        parser.feed_data(b"\r\n".join([b"POST / HTTP/1.1", *framing, b"\r\n"]))
        self.requests.pop()
        self.requests.append(request)
        request.complete = False
        self._request = request

    def _refusal(self, error: Exception) -> CodecError:
        cause = error.__context__
        if isinstance(cause, CodecError):
            return cause
        return h1_rules.refusal(str(error))

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        self._request = request = Request()
        self._fields = request.headers

    def on_url(self, url: bytes) -> None:
        request = self._request
        assert request is not None
        request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        request, parser = self._request, self._parser
        assert request is not None
        assert parser is not None
        headers = request.headers
        if len(headers) > self._max_count:
            raise CodecError(431, "http1.too_many_headers")
        request.version = "HTTP/" + parser.get_http_version()
        request.keep_alive = parser.should_keep_alive()
        request.upgrade = parser.should_upgrade()
        request.method = parser.get_method()
        h1_rules.check_request(request)
        # A head that came at once and in few bytes cannot exceed the limit, so only suspects are measured.
        if (self._head_bytes or self._fed > self._max_bytes) and h1_rules.head_size(
            request
        ) > self._max_bytes:
            raise CodecError(431, "http1.headers_too_large")
        self._fields = []
        if request.chunked:
            _accept_bare_lf(parser, False)  # chunk framing is where leniency turns into smuggling
        self.requests.append(request)

    def on_body(self, data: bytes) -> None:
        request = self._request
        assert request is not None
        request.chunks.append(data)

    def on_message_complete(self) -> None:
        request = self._request
        assert request is not None
        if self._fields:
            request.trailers = self._fields
        if request.chunked:
            assert self._parser is not None
            _accept_bare_lf(self._parser, True)
        request.complete = True
        self._closed = not request.keep_alive
        self._request = None


def _accept_bare_lf(parser: httptools.HttpRequestParser, accept: bool) -> None:
    """Envoy takes LF for CRLF in a head; llhttp needs both of these to do so, and still refuses a bare CR."""
    parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=accept, lenient_optional_lf_after_cr=accept)


class HttptoolsResponseDecoder(ResponseDecoder):
    """See `ResponseDecoder`."""

    __slots__ = ("_fields", "_left", "_method", "_opaque", "_parser")

    def __init__(self) -> None:
        self.response = Response()
        self.response.complete = True  # nothing is expected yet
        self.informational: list[tuple[int, Headers]] = []
        self._method = b""
        self._fields: Headers = []
        self._opaque = False
        self._left = 0  # of a body: bytes that are not the parser's
        self._parser: httptools.HttpResponseParser | None = None  # made for what is the first to need one

    def expect(self, method: bytes) -> Response:
        self._method = method
        self.response = response = Response()
        return response

    def feed(self, data: bytes) -> None:
        response = self.response
        if self._opaque:
            response.chunks.append(data)
            return
        if self._left:
            self._feed_body(response, data)
            return
        if response.complete:
            raise CodecError(502, "http1.codec_error")
        before, headless = len(response.chunks), not response.status
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpResponseParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._opaque = True
            response.complete = False
            tail = data[upgrade.args[0] :]
            if tail:
                response.chunks.append(tail)
        except httptools.HttpParserError as error:
            if not response.ended:
                del response.chunks[before:]  # as Envoy: what came with the offence is not passed on
                raise h1_rules.refusal(str(error)) from None
            response.reusable = False  # bytes behind the response: usable, the connection is not
        if not response.complete and headless and response.status:
            self._pass_by(response)

    def _pass_by(self, response: Response) -> None:
        """The head of `response` has just been parsed."""
        if response.framed_by_eof:
            self._opaque = True
        elif b"transfer-encoding" not in response.fields:
            left = int(response.fields.get(b"content-length", b"0")) - sum(map(len, response.chunks))
            if left >= _LONG:
                self._left = left

    def _feed_body(self, response: Response, data: bytes) -> None:
        left = self._left
        if len(data) < left:
            response.chunks.append(data)
            self._left = left - len(data)
            return
        response.chunks.append(data[:left])
        response.complete = True
        self._left = 0
        self._parser = None  # it still waits for the body
        if len(data) > left:
            response.reusable = False  # as behind any response

    def feed_eof(self) -> None:
        response = self.response
        if response.complete:
            return
        if self._opaque or response.framed_by_eof:
            response.complete = True
            return
        raise CodecError(502, "http1.codec_error")

    def close(self) -> None:
        self._parser = None  # it holds this decoder's methods

    # Callbacks of the parser.

    def on_message_begin(self) -> None:
        if self.response.complete:
            raise CodecError(502, "http1.codec_error")
        self._fields = self.response.headers = []
        self.response.begun = True

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        # To llhttp `chunked` with a tab behind it is another coding, and the body lasts until the end: `h1_rules` refuses it.
        blanks = b" " if name == b"transfer-encoding" else b" \t"
        self._fields.append((name, value.rstrip(blanks)))

    def on_headers_complete(self) -> None:
        parser, response = self._parser, self.response
        assert parser is not None
        status = parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            return  # on_message_complete follows at once
        response.fields = fields = dict(self._fields)
        h1_rules.check_response(status, self._fields, fields)
        response.reusable = parser.should_keep_alive()
        response.framed_by_eof = not response.reusable and h1_rules.body_until_eof(status, fields)
        self._fields = []
        response.status = status
        if self._method == b"HEAD" and status != 101:
            # llhttp would wait for the body a HEAD response only announces.
            response.complete = True
            response.framed_by_eof = False
            response.reusable = h1_rules.keeps_alive(parser.get_http_version(), response.headers)
            self._parser = None

    def on_body(self, data: bytes) -> None:
        response = self.response
        if response.complete:
            response.reusable = False  # a body behind the answer to HEAD is nobody's
        else:
            response.chunks.append(data)

    def on_message_complete(self) -> None:
        response = self.response
        if not response.status:
            assert self._parser is not None
            response.begun = False
            self.informational.append((self._parser.get_status_code(), self._fields))
            response.headers = []  # those were the informational response's
            return
        if self._fields:
            response.trailers = self._fields
        response.complete = True
