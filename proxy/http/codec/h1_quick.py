"""HTTP/1.1, the default codec: ordinary heads read line by line (`h1_lines`), everything else by httptools.

Invariant: what a feed delivers is what httptools alone would have delivered.
"""

from __future__ import annotations

from typing import Final

from proxy.http.codec.h1_httptools import HttptoolsRequestDecoder, HttptoolsResponseDecoder
from proxy.http.codec.h1_lines import read_response, request_of
from proxy.http.codec.interface import (
    MAX_HEADERS_BYTES,
    MAX_HEADERS_COUNT,
    CodecError,
    Request,
    Response,
)

_END: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"
_APART: Final = 15
"""Messages of a connection that go to the parser at once, after one that was not ordinary: then others mostly are not, either."""


class QuickRequestDecoder(HttptoolsRequestDecoder):
    """See `RequestDecoder`."""

    __slots__ = ("_apart", "_over")

    def __init__(
        self, max_headers_bytes: int = MAX_HEADERS_BYTES, max_headers_count: int = MAX_HEADERS_COUNT
    ) -> None:
        super().__init__(max_headers_bytes, max_headers_count)
        self._apart = 0
        self._over = False  # the last request, read here, asked for the end of the connection

    def feed(self, data: bytes) -> None:
        if self._request is not None or self._tail is not None or self._closed:
            super().feed(data)
        elif self._over:
            _refuse(data)
        elif self._apart:
            self._apart -= 1
            super().feed(data)
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        start = 0
        while start < len(data) and self._request is None:
            end = data.find(_END, start)
            head = data[start:end]
            request = request_of(head) if end > 0 and len(head) <= self._max_bytes else None
            if request is None or len(request.headers) > self._max_count:
                self._apart = _APART
                super().feed(data[start:] if start else data)
                return
            self.requests.append(request)
            start = end + len(_END)
            if request.framed:
                start = self._begin_body(request, data, start)
            else:
                request.complete = True
            if not request.keep_alive:
                self._over = True
                _refuse(data[start:])
                return

    def _begin_body(self, request: Request, data: bytes, start: int) -> int:
        """Take what is there of the body; where it ends."""
        length = int(request.fields[b"content-length"])
        end = start + length
        body = data[start:end]
        if body:
            request.chunks.append(body)
        self._left = left = length - len(body)
        if left:
            self._request = request
        else:
            request.complete = True
        return start + len(body)


def _refuse(data: bytes) -> None:
    """What follows the last request of a connection, of which the parser takes nothing but line ends; raises CodecError."""
    if data.strip(b"\r\n"):
        raise CodecError(400, "http1.codec_error")


class QuickResponseDecoder(HttptoolsResponseDecoder):
    """See `ResponseDecoder`."""

    __slots__ = ("_apart",)

    def __init__(self) -> None:
        super().__init__()
        self._apart = 0

    def feed(self, data: bytes) -> None:
        response = self.response
        if response.begun or response.complete:
            super().feed(data)
        elif self._apart:
            self._apart -= 1
            super().feed(data)
        elif not self._read(response, data):
            self._apart = _APART
            super().feed(data)

    def _read(self, response: Response, data: bytes) -> bool:
        """Read a response whose head is ordinary and whole, and behind which nothing follows; whether it is one."""
        end = data.find(_END)
        status = read_response(data[:end], response) if end > 0 else 0
        if not status or len(response.headers) > MAX_HEADERS_COUNT:
            return False
        start = end + len(_END)
        fields = response.fields
        length = fields.get(b"content-length")
        chunked = b"transfer-encoding" in fields
        if length is not None and (chunked or status == 204):
            return False
        if status in (204, 304) or self._method == b"HEAD":  # no body, whatever they announce
            left = start - len(data)
        elif length is not None:
            left = start + int(length) - len(data)
            if left >= 0 and start < len(data):
                response.chunks.append(data[start:])
        else:
            left = _take_chunk(response, data, start) if chunked else -1
        if left < 0:
            return False
        self._left = left
        response.begun = True
        response.reusable = fields.get(b"connection") != b"close"
        response.complete = not left
        response.status = status
        return True


def _take_chunk(response: Response, data: bytes, start: int) -> int:
    """Take a chunked body that is there as a whole and is one chunk; below 0 if it is not.

    Many chunks, or a body in pieces, are read faster by the parser.
    """
    if not data.endswith(_LAST_CHUNK):
        return -1
    end = data.find(b"\r\n", start)
    body = data[end + 2 : -len(_LAST_CHUNK)]
    if not body or data[start:end].lower() != b"%x" % len(body):
        return -1
    response.chunks.append(body)
    return 0
