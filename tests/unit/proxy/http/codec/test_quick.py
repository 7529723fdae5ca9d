"""The quick decoders deliver what httptools alone delivers, whatever comes and however it is split."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.http.codec import h1_quick
from proxy.http.codec.h1_httptools import HttptoolsRequestDecoder, HttptoolsResponseDecoder
from proxy.http.codec.h1_lines import read_response, remembered, request_of
from proxy.http.codec.h1_quick import QuickRequestDecoder, QuickResponseDecoder
from proxy.http.codec.interface import CodecError, Message, RequestDecoder, ResponseDecoder

START = [
    b"GET / HTTP/1.1",
    b"POST /a/b.c?d=%20&e=(f)*~@:; HTTP/1.1",
    b"DELETE //x HTTP/1.1",
    b"HEAD /h HTTP/1.1",
]
ODD_START = [
    b"GET /# HTTP/1.1", b'GET /" HTTP/1.1', b"GET /\x7f HTTP/1.1", b"GET /\xe9 HTTP/1.1", b"GET / HTTP/1.0", b"GET /  HTTP/1.1",
    b"GET  / HTTP/1.1", b"get / HTTP/1.1", b"GET http://a/b HTTP/1.1", b"OPTIONS * HTTP/1.1", b"CONNECT a:80 HTTP/1.1",
    b"PRI * HTTP/2.0", b"BREW / HTTP/1.1", b"GET / http/1.1", b"GET * HTTP/1.1", b"GET a HTTP/1.1", b"GET /", b"", b"M-SEARCH / HTTP/1.1", b"GET /\t HTTP/1.1",
]  # fmt: skip
STATUS = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 503 Service Unavailable", b"HTTP/1.1 204 No Content",
    b"HTTP/1.1 304 Not Modified",
]  # fmt: skip
ODD_STATUS = [
    b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.1 200 ok", b"HTTP/1.0 200 OK", b"HTTP/1.1 204 no", b"HTTP/1.1 20 OK",
    b"HTTP/1.0 304 Not Modified", b"HTTP/1.1 100 Continue", b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1  200 OK",
    b"HTTP/1.1 999 Unknown", b"HTTP/2 200 OK", b"http/1.1 200 OK", b"",
]  # fmt: skip
FIELDS = [
    b"Host: a", b"host: b.c:80", b"User-Agent: curl/8 (x; y)", b"accept:*/*", b"X-Tab: a\tb", b"x-blanks:  \t a b \t ",
    b"x-request-id: 1", b"cookie: a=b; c", b"Authorization: Basic eA==", b"Connection: keep-alive", b"Connection: close", b"te: trailers",
    b"content-length: 0", b"Content-Length: 3", b"content-length: 003", b"!#$%&'*+-.^_`|~09Az: v", b"expect: 100-continue",
    b"date: Sat, 21 Nov 2026 22:44:38 GMT", b"server: envoy",
]  # fmt: skip
ODD_FIELDS = [
    b"x:", b"x: ", b": x", b"x", b"x : y", b" x: y", b"\tx: y", b"x: \x00", b"x: \x7f", b"x: \x0b", b"x: \xe9", b"x: a\rb",
    b"x: a\nb", b"x(: y", b"x\xe9: y", b"content-length: 3, 3", b"content-length: +3", b"content-length: 3 3", b"content-length: -0",
    b"content-length: 0x3", b"content-length: " + b"9" * 25, b"content-length: 0000000000000000000000003", b"content-length:",
    b"transfer-encoding: chunked", b"transfer-encoding: gzip", b"connection: close", b"connection: Keep-Alive",
    b"connection: upgrade", b"upgrade: ws", b"proxy-connection: close", b"connection: keep-alive, close",
    b"connection:close", b"connection: Close", b"connection: KEEP-ALIVE", b"connection: close\t", b"connection: close, upgrade", b"transfer-encoding : chunked", b"x: y\r\n z",
    b"transfer-encoding: chunked\r\n x", b"transfer-encoding:chunked", b"transfer-encoding: chunked ", b"transfer-encoding: chunked\t",
    b"transfer-encoding: gzip, chunked", b"transfer-encoding: chunked, chunked", b"Transfer-Encoding: CHUNKED",
]  # fmt: skip
# How a message says where it ends, and what follows its head.
FRAMED = [
    (b"Content-Length: 3", b"abc"), (b"content-length: 0", b""), (b"content-length: 003", b"a\r\n"), (b"accept: */*", b""),
    (b"connection: close", b""), (b"Transfer-Encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"),
    (b"transfer-encoding: chunked", b"1B\r\n\r\n0\r\n\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n"), (b"connection: close\r\ncontent-length: 3", b"abc"),
    (b"connection: close\r\ntransfer-encoding: chunked", b"2\r\nab\r\n0\r\n\r\n"),
]  # fmt: skip
CHUNKS = [
    b"0\r\n\r\n", b"1\r\nx\r\n2\r\nyz\r\n0\r\n\r\n", b"3\r\nabc\r\n", b"3\r\nabc\r\n0\r\nx: y\r\n\r\n", b"3;a=b\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0;a\r\n\r\n", b"03\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n00\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n", b"+3\r\nabc\r\n0\r\n\r\n",
    b"3 \r\nabc\r\n0\r\n\r\n", b" 3\r\nabc\r\n0\r\n\r\n", b"3\nabc\n0\n\n", b"3\r\nabc\n0\r\n\r\n", b"3\rabc\r\n0\r\n\r\n", b"3\n\nabc\r\n0\r\n\r\n",
    b"2\r\nabc\r\n0\r\n\r\n", b"4\r\nabc\r\n0\r\n\r\n", b"3\r\nabcXX0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n0\r\n\r\n", b"\r\nabc\r\n0\r\n\r\n",
    b"10000000000000003\r\nabc\r\n0\r\n\r\n", b"FFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n", b"-1\r\nabc\r\n0\r\n\r\n", b"zz\r\nabc\r\n0\r\n\r\n",
    b"3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"8\r\na\r\n0\r\n\r\n\r\n0\r\n\r\n", b"1\r\n0\r\n\r\n", b"0\r\n0\r\n\r\n", b"",
]  # fmt: skip
"""Chunked bodies a small mistake away from one ordinary chunk, or chunked otherwise."""
ODD_FRAMED = [
    (b"accept: */*", b"abc"), (b"content-length: 3", b"ab"), (b"content-length: 3", b"abcd"), (b"content-length: 3", b"abc\r\n"),
    *[(b"transfer-encoding: chunked", body) for body in CHUNKS],
    (b"content-length: 3\r\ntransfer-encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"), (b"transfer-encoding: chunked\r\ncontent-length: 13", b"3\r\nabc\r\n0\r\n\r\n"),
    (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked", b"3\r\nabc\r\n0\r\n\r\n"), (b"transfer-encoding: gzip, chunked", b"3\r\nabc\r\n0\r\n\r\n"),
    (b"transfer-encoding: chunked\t", b"3\r\nabc\r\n0\r\n\r\n"), (b"transfer-encoding : chunked", b"3\r\nabc\r\n0\r\n\r\n"),
    (b"transfer-encoding:\r\n chunked", b"3\r\nabc\r\n0\r\n\r\n"), (b"transfer-encoding: chunked\nx: y", b"3\r\nabc\r\n0\r\n\r\n"),
    (b"connection: close", b"abc"), (b"connection: close", b"\r\n"), (b"connection: close\r\nupgrade: ws", b""),
    (b"connection: close, upgrade\r\nupgrade: ws", b"ab"), (b"connection: close\r\ncontent-length: 3", b"abcGET / HTTP/1.1"), (b"content-length: " + b"9" * 25, b"abc"), (b"content-length: " + b"0" * 25 + b"3", b"abc"),
]  # fmt: skip
Kind = TypeVar("Kind")


def mostly(ordinary: list[Kind], odd: list[Kind], times: int = 12) -> st.SearchStrategy[Kind]:
    return st.integers(0, times).flatmap(lambda number: st.sampled_from(ordinary if number else odd))


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].lower()


FIELD = mostly(FIELDS, ODD_FIELDS, 24)
MANY = st.one_of(*[st.lists(FIELD, max_size=4, unique_by=_name)] * 4, st.lists(FIELD, max_size=4))
CHANGE = st.one_of(
    st.none(), st.none(), st.tuples(st.integers(0, 200), st.sampled_from(b"\r\n \t:,\x00\x80A3"))
)
CUTS = st.one_of(st.just([]), st.just([]), st.lists(st.integers(1, 200), max_size=3).map(sorted))


def dialogues(start: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[bytes]]:
    """The pieces in which up to three messages come; perhaps one byte of them is another."""
    message = st.builds(
        lambda start, fields, framed: b"\r\n".join([start, *fields, framed[0], b"", framed[1]]),
        start,
        MANY,
        mostly(FRAMED, ODD_FRAMED, 3),
    )
    return st.builds(_pieces, st.lists(message, min_size=1, max_size=3), st.booleans(), CHANGE, CUTS)


def _pieces(
    messages: list[bytes], glued: bool, change: tuple[int, int] | None, cuts: list[int]
) -> list[bytes]:
    if glued:
        messages = [b"".join(messages)]
    if change is not None:
        at, byte = change
        first = bytearray(messages[0])
        first[at % len(first)] = byte
        messages[0] = bytes(first)
    return [
        piece
        for message in messages
        for start, end in pairwise([0, *cuts, len(message)])
        if (piece := message[start:end])
    ]


def told(message: Message) -> dict[str, Any]:
    """All there is to know of it once its head is complete."""
    names = [name for kind in type(message).__mro__ for name in getattr(kind, "__slots__", ())]
    found = {name: copy(getattr(message, name)) for name in names} | {"chunks": b"".join(message.chunks)}
    return found if found.get("status", 200) else {"begun": found["begun"]}


def requests_of(decoder: RequestDecoder, pieces: list[bytes], *, accept: bool | None) -> list[Any]:
    """What there is to see after each feed; of an upgrade nothing is said if `accept` is None."""
    seen: list[Any] = []
    for piece in pieces:
        try:
            decoder.feed(piece)
            if accept is not None and decoder.requests and decoder.requests[-1].upgrade and not decoder.idle:
                decoder.accept_upgrade() if accept else decoder.refuse_upgrade()
        except CodecError as error:
            return [*seen, [told(request) for request in decoder.requests], error.status, error.details]
        seen.append(([told(request) for request in decoder.requests], decoder.idle))
    return seen


@contextmanager
def trying_all() -> Iterator[None]:
    """A message that is not ordinary does not keep the next from being read quickly, and lines are forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(h1_quick, "_APART", 0)
        yield
    remembered.clear()


@settings(max_examples=1500, deadline=None)
@given(dialogues(mostly(START, ODD_START)), st.sampled_from([None, False, True]))
@example([b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"], False)
@example([b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n", b"\r\n\n", b"\r", b" "], False)
def test_requests(pieces: list[bytes], accept: bool | None) -> None:
    for limits in ((60 * 1024, 100), (200, 4)):
        expected = requests_of(HttptoolsRequestDecoder(*limits), pieces, accept=accept)
        with trying_all():
            for _ in ("as a stranger", "from memory"):
                assert requests_of(QuickRequestDecoder(*limits), pieces, accept=accept) == expected


def responses_of(decoder: ResponseDecoder, method: bytes, pieces: list[bytes]) -> list[Any]:
    seen: list[Any] = []
    response = decoder.expect(method)
    for piece in pieces:
        try:
            decoder.feed(piece)
        except CodecError as error:
            return [*seen, told(response), list(decoder.informational), error.status, error.details]
        seen.append((told(response), list(decoder.informational)))
        if response.complete and response.reusable:
            response = decoder.expect(method)
    return seen


@settings(max_examples=1500, deadline=None)
@given(dialogues(mostly(STATUS, ODD_STATUS)), st.sampled_from([b"GET", b"GET", b"GET", b"HEAD"]))
@example([b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nage: 1\r\n\r\n"], b"GET")
@example(
    [b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], b"GET"
)
def test_responses(pieces: list[bytes], method: bytes) -> None:
    expected = responses_of(HttptoolsResponseDecoder(), method, pieces)
    with trying_all():
        for _ in ("as a stranger", "from memory"):
            assert responses_of(QuickResponseDecoder(), method, pieces) == expected


def splits(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


# Line ends behind a body of known length that came in pieces are not forgiven (see `test_long_bodies`); httptools would.
SPLIT = [framing for framing in FRAMED + ODD_FRAMED if framing != (b"content-length: 3", b"abc\r\n")]


@pytest.mark.parametrize("framing", SPLIT, ids=lambda framing: repr(b"|".join(framing))[2:-1])
def test_every_framing_split_at_every_byte(framing: tuple[bytes, bytes]) -> None:
    field, body = framing
    with trying_all():
        for pieces in splits(b"\r\n".join([b"POST / HTTP/1.1", b"host: a", field, b"", body])):
            expected = requests_of(HttptoolsRequestDecoder(), pieces, accept=False)
            assert requests_of(QuickRequestDecoder(), pieces, accept=False) == expected
        for status in (STATUS[0], *STATUS[-2:]):
            for pieces in splits(b"\r\n".join([status, b"server: a", field, b"", body])):
                for method in (b"GET", b"HEAD"):
                    expected = responses_of(HttptoolsResponseDecoder(), method, pieces)
                    assert responses_of(QuickResponseDecoder(), method, pieces) == expected


@pytest.mark.parametrize(
    ("method", "head", "body"),
    [
        (b"GET", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", b"A\r\n0123456789\r\n0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2", b"ab"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 2", b""),
        (b"HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", b""),
        (b"DELETE", b"HTTP/1.1 204 No Content", b""),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9", b""),
    ],
)
def test_ordinary_responses_make_no_parser(
    monkeypatch: pytest.MonkeyPatch, method: bytes, head: bytes, body: bytes
) -> None:
    monkeypatch.delattr("httptools.HttpResponseParser")
    decoder = QuickResponseDecoder()
    for _ in range(2):
        response = decoder.expect(method)
        decoder.feed(head + b"\r\n\r\n" + body)
        assert response.complete


def test_a_request_that_ends_its_connection_makes_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("httptools.HttpRequestParser")
    decoder = QuickRequestDecoder()
    decoder.feed(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n")
    decoder.feed(b"\r\n")
    with pytest.raises(CodecError):
        decoder.feed(b"GET / HTTP/1.1\r\n\r\n")
    (request,) = decoder.requests
    assert (request.complete, request.keep_alive, decoder.idle) == (True, False, True)


def test_after_one_that_is_not_ordinary_the_parser_is_asked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    monkeypatch.setattr(h1_quick, "request_of", lambda head: tried.append(head) or request_of(head))
    monkeypatch.setattr(
        h1_quick, "read_response", lambda head, response: tried.append(head) or read_response(head, response)
    )
    requests, responses = QuickRequestDecoder(), QuickResponseDecoder()
    chunked = b"transfer-encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\n\r\n"
    for number in range(21):
        requests.feed(b"POST / HTTP/1.1\r\n" + (b"\r\n" if number else chunked))
        assert requests.requests.pop().complete
    assert len(tried) == 1 + 20 - 15
    tried.clear()
    for number in range(21):
        response = responses.expect(b"GET")
        responses.feed(b"HTTP/1.1 200 OK\r\n" + (b"content-length: 1\r\n\r\nx" if number else chunked))
        assert (response.complete, response.chunks) == (True, [b"x"])
    assert len(tried) == 1 + 20 - 15
