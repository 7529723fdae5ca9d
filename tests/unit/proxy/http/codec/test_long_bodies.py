"""Long bodies of known length, which pass the parser by: the same messages however the bytes come, and nothing lost around them."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.http.codec import h1_encode
from proxy.http.codec.h1_h11 import H11RequestDecoder, H11ResponseDecoder
from proxy.http.codec.h1_httptools import HttptoolsRequestDecoder, HttptoolsResponseDecoder
from proxy.http.codec.h1_quick import QuickRequestDecoder, QuickResponseDecoder
from proxy.http.codec.interface import CodecError, RequestDecoder, ResponseDecoder

SIZE = 200_000
BODY = bytes(range(256)) * (SIZE // 256) + b"end of the body"
LENGTH = b"content-length: %d\r\n" % len(BODY)
POST = b"POST /long HTTP/1.1\r\nhost: a\r\n" + LENGTH + b"\r\n" + BODY
GET = b"GET /after HTTP/1.1\r\nhost: a\r\n\r\n"
cuts = st.lists(st.integers(0, 2 * len(POST)), max_size=12).map(sorted)


def split(data: bytes, at: list[int]) -> list[bytes]:
    return [part for start, end in pairwise([0, *at, len(data)]) if (part := data[start:end])]


@pytest.mark.parametrize("kind", [QuickRequestDecoder, HttptoolsRequestDecoder, H11RequestDecoder])
@settings(max_examples=25, deadline=None)
@given(at=cuts)
def test_requests(kind: type[RequestDecoder], at: list[int]) -> None:
    decoder = kind()
    bodies: dict[bytes, bytes] = {}
    for piece in split(POST + GET + POST, at):
        decoder.feed(piece)
        for number, request in enumerate(decoder.requests):
            key = b"%d%b" % (number, request.target)
            bodies[key] = bodies.get(key, b"") + b"".join(request.take())
    assert bodies == {b"0/long": BODY, b"1/after": b"", b"2/long": BODY}
    assert all(request.complete for request in decoder.requests)
    assert decoder.idle


@pytest.mark.parametrize("kind", [QuickResponseDecoder, HttptoolsResponseDecoder, H11ResponseDecoder])
@settings(max_examples=25, deadline=None)
@given(at=cuts)
def test_responses_one_after_another(kind: type[ResponseDecoder], at: list[int]) -> None:
    decoder = kind()
    for framing in (LENGTH, b"", LENGTH):
        response = decoder.expect(b"GET")
        taken = []
        for piece in split(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + BODY, at):
            decoder.feed(piece)
            taken += response.take()
        assert b"".join(taken) == BODY
        assert response.status == 200
        if not framing:
            assert not response.complete
            decoder.feed_eof()
            assert (response.complete, response.reusable) == (True, False)
            return
        assert (response.complete, response.reusable) == (True, True)


@pytest.fixture(params=[QuickResponseDecoder, HttptoolsResponseDecoder])
def decoder(request: pytest.FixtureRequest) -> ResponseDecoder:
    return cast(ResponseDecoder, request.param())


def test_bytes_behind_a_response_end_its_connection(decoder: ResponseDecoder) -> None:
    response = decoder.expect(b"GET")
    decoder.feed(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY[:1000])
    decoder.feed(BODY[1000:] + b"HTTP/1.1 200 OK\r\n\r\n")
    assert b"".join(response.chunks) == BODY
    assert (response.complete, response.reusable) == (True, False)


def test_an_end_inside_a_long_body_is_an_error(decoder: ResponseDecoder) -> None:
    decoder.expect(b"GET")
    decoder.feed(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + BODY[:1000])
    with pytest.raises(CodecError):
        decoder.feed_eof()


def test_what_only_announces_a_long_body_has_none(decoder: ResponseDecoder) -> None:
    for method, head in ((b"HEAD", b"HTTP/1.1 200 OK\r\n"), (b"GET", b"HTTP/1.1 304 Not Modified\r\n")):
        response = decoder.expect(method)
        decoder.feed(head + LENGTH + b"\r\n")
        assert (response.complete, response.reusable) == (True, True)


@pytest.mark.parametrize(
    "kinds",
    [(QuickRequestDecoder, QuickResponseDecoder), (HttptoolsRequestDecoder, HttptoolsResponseDecoder)],
)
def test_a_long_body_is_passed_on_as_it_was_read(
    kinds: tuple[type[RequestDecoder], type[ResponseDecoder]],
) -> None:
    """Not copied: the pieces are the very objects that were fed."""
    request, response = kinds[0](), kinds[1]()
    request.feed(b"POST / HTTP/1.1\r\nhost: a\r\n" + LENGTH + b"\r\n")
    got = response.expect(b"GET")
    response.feed(b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n")
    piece = BODY[:100_000]
    request.feed(piece)
    response.feed(piece)
    assert request.requests[0].chunks[0] is piece
    assert got.chunks[0] is piece
    assert h1_encode.chunked(b"", [piece], b"")[1] is piece


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([], b"HEAD0\r\n\r\n"),
        ([b"a", b"bc"], b"HEAD3\r\nabc\r\n0\r\n\r\n"),
        ([b"x" * 20_000, b"y"], b"HEAD4e21\r\n" + b"x" * 20_000 + b"y\r\n0\r\n\r\n"),
    ],
)
def test_a_chunk_is_what_is_there(pieces: list[bytes], expected: bytes) -> None:
    assert b"".join(h1_encode.chunked(b"HEAD", pieces, h1_encode.LAST_CHUNK)) == expected
