"""Header names that are sent on as they came. The texts are what Envoy 1.40 wrote."""

from __future__ import annotations

from proxy.http.codec import h1_encode, http1_codec

HEAD = b"GET /x HTTP/1.1\r\nHOST: h\r\nX-Bar: 1\r\nx-BAR: 2\r\nTransfer-ENCODING: chunked\r\n\r\n0\r\nX-Trailer: t\r\n\r\n"


def test_a_request_keeps_the_first_spelling_of_a_name() -> None:
    for at in range(1, len(HEAD)):
        decoder = http1_codec("httptools").preserving_case().request_decoder(60 * 1024, 100)
        decoder.feed(HEAD[:at])
        decoder.feed(HEAD[at:])
        (request,) = decoder.requests
        assert request.headers[1:3] == [(b"x-bar", b"1"), (b"x-bar", b"2")]
        assert request.spelling is not None
        headers = h1_encode.respelled([*request.headers, (b"x-ours", b"3")], request.spelling)
        names = [name for name, _ in headers]
        assert names == [b"HOST", b"X-Bar", b"X-Bar", b"Transfer-ENCODING", b"x-ours"]


def test_a_response_keeps_its_spelling_and_the_next_has_its_own() -> None:
    decoder = http1_codec("httptools").preserving_case().response_decoder()
    for name in (b"X-One", b"X-Two"):
        response = decoder.expect(b"GET")
        decoder.feed(b"HTTP/1.1 200 OK\r\nContent-LENGTH: 0\r\n" + name + b": 1\r\n\r\n")
        assert response.complete
        assert response.spelling == {b"content-length": b"Content-LENGTH", name.lower(): name}


def test_messages_of_other_decoders_have_none() -> None:
    for library in ("httptools", "h11"):
        decoder = http1_codec(library).request_decoder(60 * 1024, 100)
        decoder.feed(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert decoder.requests[0].spelling is None
