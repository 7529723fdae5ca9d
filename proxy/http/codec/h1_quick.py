"""HTTP/1.1, the default codec: ordinary heads read line by line (`h1_lines`), everything else by httptools.

Invariant: what a feed delivers is what httptools alone would have delivered.
"""

from __future__ import annotations

from typing import Final

from proxy.http.codec.h1_httptools import HttptoolsRequestDecoder, HttptoolsResponseDecoder
from proxy.http.codec.h1_lines import read_response, request_of
from proxy.http.codec.interface import MAX_HEADERS_BYTES, MAX_HEADERS_COUNT, Request, Response

_END: Final = b"\r\n\r\n"
_APART: Final = 15
"""Messages of a connection that go to the parser at once, after one that was not ordinary: then others mostly are not, either."""


class QuickRequestDecoder(HttptoolsRequestDecoder):
    """See `RequestDecoder`."""

    __slots__ = ("_apart",)

    def __init__(
        self, max_headers_bytes: int = MAX_HEADERS_BYTES, max_headers_count: int = MAX_HEADERS_COUNT
    ) -> None:
        super().__init__(max_headers_bytes, max_headers_count)
        self._apart = 0

    def feed(self, data: bytes) -> None:
        if self._request is not None or self._tail is not None or self._closed:
            super().feed(data)
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


class QuickResponseDecoder(HttptoolsResponseDecoder):
    """See `ResponseDecoder`."""

    __slots__ = ("_apart",)

    def __init__(self) -> None:
        super().__init__()
        self._apart = 0

    def feed(self, data: bytes) -> None:
        response = self.response
        if response.begun or response.complete or self._method == b"HEAD":
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
        body = data[end + len(_END) :]
        left = int(response.fields[b"content-length"]) - len(body)
        if left < 0:
            return False
        if body:
            response.chunks.append(body)
        self._left = left
        response.begun = response.reusable = True
        response.complete = not left
        response.status = status
        return True
