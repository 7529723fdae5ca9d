"""HTTP/1.1 with header names spelled as they came: decoders that remember them, and the way back.

Everything between works with lower-case names; only the wire sees the others. A connection manager or cluster that does not ask
for it gets decoders without any of this. Invariant: of a name that came in several spellings the first counts, for all of them.
Reference: Envoy source/extensions/http/header_formatters/preserve_case.
"""

from __future__ import annotations

from proxy.http.codec.h1_httptools import HttptoolsRequestDecoder, HttptoolsResponseDecoder
from proxy.http.codec.interface import Request, Response


class SpelledRequest(Request):
    """A request that knows its spelling."""

    __slots__ = ("spelling",)

    def __init__(self) -> None:
        super().__init__()
        self.spelling = {}


class SpelledResponse(Response):
    """A response that knows its spelling."""

    __slots__ = ("spelling",)

    def __init__(self) -> None:
        super().__init__()
        self.spelling = {}


class SpellingRequestDecoder(HttptoolsRequestDecoder):
    """See `RequestDecoder`; its requests have a spelling."""

    __slots__ = ()

    def on_message_begin(self) -> None:
        self._request = request = SpelledRequest()
        self._fields = request.headers

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        request = self._request
        if request is not None and request.spelling is not None:
            request.spelling.setdefault(name.lower(), name)


class SpellingResponseDecoder(HttptoolsResponseDecoder):
    """See `ResponseDecoder`; its responses have a spelling."""

    __slots__ = ()

    def expect(self, method: bytes) -> Response:
        super().expect(method)
        self.response = response = SpelledResponse()
        return response

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if self.response.spelling is not None:
            self.response.spelling.setdefault(name.lower(), name)
