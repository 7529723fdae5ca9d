"""HTTP codecs behind one interface; `http1_codec` is the one list of HTTP/1.1 decoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.http.codec.h1_quick import QuickRequestDecoder, QuickResponseDecoder
from proxy.http.codec.interface import (
    CodecError,
    Headers,
    Message,
    Request,
    RequestDecoder,
    Response,
    ResponseDecoder,
)

__all__ = ["CodecError", "Headers", "Http1Codec", "Message", "Request", "Response", "http1_codec"]


@dataclass(frozen=True, slots=True)
class Http1Codec:
    """Decoders of one library; the request decoder takes the limits on header bytes and header count."""

    request_decoder: Callable[[int, int], RequestDecoder]
    response_decoder: Callable[[], ResponseDecoder]

    def preserving_case(self) -> Http1Codec:
        """Decoders that remember how names were spelled; httptools' ones, whichever library was chosen."""
        from proxy.http.codec.h1_case import SpellingRequestDecoder, SpellingResponseDecoder

        return Http1Codec(SpellingRequestDecoder, SpellingResponseDecoder)


def http1_codec(name: str) -> Http1Codec:
    """`httptools`, the default, or `h11`, the strict reference. Raises ValueError for another name."""
    if name == "httptools":
        return Http1Codec(QuickRequestDecoder, QuickResponseDecoder)
    if name == "h11":
        # Imported when asked for: an idle sidecar does not carry a parser it does not use.
        from proxy.http.codec.h1_h11 import H11RequestDecoder, H11ResponseDecoder

        return Http1Codec(H11RequestDecoder, H11ResponseDecoder)
    raise ValueError(f"unknown HTTP/1 codec {name!r}: want httptools or h11")
