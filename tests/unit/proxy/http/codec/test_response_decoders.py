"""What every response decoder must do: one table of dialogues, delivered whole, byte by byte and split at every byte."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.codec.h1_h11 import H11ResponseDecoder
from proxy.http.codec.h1_httptools import HttptoolsResponseDecoder
from proxy.http.codec.h1_quick import QuickResponseDecoder
from proxy.http.codec.interface import CodecError, Headers, ResponseDecoder

DECODERS: dict[str, Callable[[], ResponseDecoder]] = {
    "quick": QuickResponseDecoder,
    "httptools": HttptoolsResponseDecoder,
    "h11": H11ResponseDecoder,
}
LIBRARY = {"quick": "httptools"}  # who judges what it does not
OK = b"HTTP/1.1 200 OK\r\n"


@dataclass(frozen=True)
class Case:
    """`end`: reusable, closing (usable, but the connection is not) or broken. `eof`: the peer closes behind it."""

    name: str
    data: bytes
    status: int
    body: bytes = b""
    end: str = "reusable"
    method: bytes = b"GET"
    eof: bool = False
    informational: list[int] = field(default_factory=list)
    trailers: Headers | None = None
    instead: dict[str, str] = field(default_factory=dict)


CASES = [
    Case("length", OK + b"Content-Length: 3\r\n\r\nabc", 200, b"abc"),
    Case("no reason", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200),
    Case("chunked", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 200, b"ab"),
    Case(
        "trailers",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\n\r\n",
        200,
        b"ab",
        trailers=[(b"x-sum", b"1")],
    ),
    Case("until the end", OK + b"\r\nabc", 200, b"abc", "closing", eof=True),
    Case("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\nabc", 200, b"abc", "closing", eof=True),
    Case("HTTP/1.0 kept", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", 200),
    Case("close", OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nab", 200, b"ab", "closing"),
    Case("HEAD with length", OK + b"Content-Length: 3\r\n\r\n", 200, method=b"HEAD"),
    Case("HEAD chunked", OK + b"Transfer-Encoding: chunked\r\n\r\n", 200, method=b"HEAD"),
    Case("HEAD without either", OK + b"\r\n", 200, method=b"HEAD"),
    Case("204", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    Case("304 with length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304),
    Case(
        "100", b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n", 200, informational=[100]
    ),
    Case(
        "103 twice",
        b"HTTP/1.1 103 E\r\nLink: x\r\n\r\nHTTP/1.1 103 E\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\nz",
        200,
        b"z",
        informational=[103, 103],
    ),
    Case(
        "101",
        b"HTTP/1.1 101 Switching\r\nUpgrade: ws\r\nConnection: Upgrade\r\n\r\nraw",
        101,
        b"raw",
        "closing",
        eof=True,
        instead={"httptools": "reusable"},  # harmless: the body ends with the connection
    ),
    Case("bytes behind it", OK + b"Content-Length: 1\r\n\r\nzHTTP/1.1 200", 200, b"z", "closing"),
    Case("ends inside a body", OK + b"Content-Length: 5\r\n\r\nz", 200, b"z", "broken", eof=True),
    Case(
        "ends inside a chunk",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\na",
        200,
        b"a",
        "broken",
        eof=True,
    ),
    Case("ends inside a head", OK + b"Conte", 0, b"", "broken", eof=True),
    Case("ends before it begins", b"", 0, b"", "broken", eof=True),
    Case("no response", b"nonsense\r\n\r\n", 0, b"", "broken"),
    Case("bad field", OK + b"X Y\r\n\r\n", 0, b"", "broken"),
    Case("two lengths", OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nz", 0, b"", "broken"),
    Case(
        "length and chunked",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        0,
        b"",
        "broken",
    ),
    Case("chunked twice", OK + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n", 0, b"", "broken"),
]


def deliver(decoder: ResponseDecoder, case: Case, pieces: list[bytes]) -> Case:
    """The dialogue, told in the form of a case."""
    response = decoder.expect(case.method)
    error = False
    try:
        for piece in pieces:
            decoder.feed(piece)
        if case.eof:
            decoder.feed_eof()
    except CodecError:
        error = True
    # Surplus bytes that come with the response spoil the connection, those that come later are an error; either way
    # the response is whole and the connection is not used again.
    end = "broken" if not response.complete else "closing" if error or not response.reusable else "reusable"
    if response.framed_by_eof:
        assert not response.reusable
    return Case(
        case.name,
        case.data,
        response.status,
        b"".join(response.chunks),
        end,
        case.method,
        case.eof,
        [status for status, _ in decoder.informational],
        response.trailers,
        case.instead,
    )


def splits(data: bytes) -> Iterator[list[bytes]]:
    yield [data] if data else []
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


@pytest.fixture(params=DECODERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_dialogue_ends_the_same_wherever_it_is_split(name: str, case: Case) -> None:
    for pieces in splits(case.data):
        got = deliver(DECODERS[name](), case, pieces)
        assert got.end == case.instead.get(LIBRARY.get(name, name), case.end), pieces
        wanted = (case.status, case.body, case.informational, case.trailers)
        assert (got.status, got.body, got.informational, got.trailers) == wanted, pieces


@pytest.mark.parametrize("name", ["quick", "httptools"])
def test_a_tab_behind_the_coding_makes_it_another(name: str) -> None:
    """To llhttp; the body's framing would be passed on as body."""
    case = Case("tab", OK + b"Transfer-Encoding: chunked\t\r\n\r\n2\r\nab\r\n0\r\n\r\n", 0, end="broken")
    for pieces in splits(case.data):
        assert deliver(DECODERS[name](), case, pieces) == case, pieces


def test_responses_follow_each_other_on_one_connection(name: str) -> None:
    decoder = DECODERS[name]()
    for method, body in ((b"GET", b"one"), (b"HEAD", b""), (b"GET", b"three")):
        response = decoder.expect(method)
        decoder.feed(OK + b"Content-Length: %d\r\n\r\n" % (len(body) or 7) + body)
        assert (b"".join(response.chunks), response.complete, response.reusable) == (body, True, True)


def test_bytes_nobody_asked_for_are_refused(name: str) -> None:
    with pytest.raises(CodecError):
        DECODERS[name]().feed(OK)


def test_an_opaque_body_follows_101(name: str) -> None:
    decoder = DECODERS[name]()
    response = decoder.expect(b"GET")
    decoder.feed(b"HTTP/1.1 101 X\r\nUpgrade: ws\r\nConnection: upgrade\r\n\r\n")
    assert (response.status, response.complete) == (101, False)
    decoder.feed(b"HTTP/1.1 200 is only bytes now")
    decoder.feed(b"\x00")
    assert b"".join(response.take()) == b"HTTP/1.1 200 is only bytes now\x00"
    decoder.feed_eof()
    assert response.complete


@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from([b"GET", b"HEAD"]))
def test_no_bytes_raise_anything_but_a_refusal(pieces: list[bytes], method: bytes) -> None:
    for make in DECODERS.values():
        deliver(make(), Case("fuzz", b"", 0, method=method, eof=True), pieces)
