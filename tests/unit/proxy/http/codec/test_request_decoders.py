"""What every request decoder must do: one table of dialogues, each delivered whole, byte by byte and split at every byte.

The answers are Envoy 1.40's, tried one by one. Where a parser library is stricter than Envoy the case says so and holds
it to its stricter answer, so that nothing changes unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.codec.h1_h11 import H11RequestDecoder
from proxy.http.codec.h1_httptools import HttptoolsRequestDecoder
from proxy.http.codec.h1_quick import QuickRequestDecoder
from proxy.http.codec.interface import CodecError, Request, RequestDecoder

DECODERS: dict[str, Callable[[], RequestDecoder]] = {
    "quick": QuickRequestDecoder,
    "httptools": HttptoolsRequestDecoder,
    "h11": H11RequestDecoder,
}
LIBRARY = {"quick": "httptools"}  # who judges what it does not
BAD = (400, "http1.codec_error")
LOW = (426, "low_version")
HOST = b"Host: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def get(path: bytes = b"/", *fields: bytes) -> bytes:
    return b"".join([b"GET ", path, b" HTTP/1.1\r\n", HOST, *(f + b"\r\n" for f in fields), b"\r\n"])


def post(*fields: bytes, body: bytes = b"") -> bytes:
    return b"".join([b"POST / HTTP/1.1\r\n", HOST, *(f + b"\r\n" for f in fields), b"\r\n", body])


@dataclass(frozen=True)
class Case:
    """`seen` is a line per request; `error` how the dialogue ends; `instead`: who is stricter than Envoy, and how."""

    name: str
    data: bytes
    seen: list[str] = field(default_factory=list)
    error: tuple[int, str] | None = None
    instead: dict[str, tuple[list[str], tuple[int, str] | None]] = field(default_factory=dict)

    def expected(self, decoder: str) -> tuple[list[str], tuple[int, str] | None]:
        return self.instead.get(LIBRARY.get(decoder, decoder), (self.seen, self.error))


def shown(request: Request) -> str:
    """One line: method, target, body, and what else is out of the ordinary."""
    parts = [
        request.method.decode(),
        request.target.decode("latin-1"),
        b"".join(request.chunks).decode("latin-1"),
    ]
    marks = {
        "open": not request.complete,
        "close": not request.keep_alive,
        "upgrade": request.upgrade,
        "1.0": request.version == "HTTP/1.0",
        "chunked": request.chunked,
        "framed": request.framed and not request.chunked,
        f"trailers={request.trailers}": request.trailers is not None,
    }
    return " ".join([part or "-" for part in parts] + [mark for mark, on in marks.items() if on])


ACCEPTED = [
    Case("get", get(), ["GET / -"]),
    Case("pipelined", get(b"/1") + get(b"/2"), ["GET /1 -", "GET /2 -"]),
    Case("blank lines before", b"\r\n\r\n" + get(), ["GET / -"]),
    Case("query", get(b"/a?b=c#d"), ["GET /a?b=c#d -"]),
    Case("empty value", get(b"/", b"X:"), ["GET / -"]),
    Case("latin-1 value", get(b"/", b"X: \xe9"), ["GET / -"]),
    Case("length", post(b"Content-Length: 3", body=b"abc"), ["POST / abc framed"]),
    Case("length 0", post(b"Content-Length: 0"), ["POST / -"]),
    Case(
        "length, then another", post(b"Content-Length: 1", body=b"x") + get(), ["POST / x framed", "GET / -"]
    ),
    Case("length, unfinished", post(b"Content-Length: 3", body=b"ab"), ["POST / ab open framed"]),
    Case("chunked", CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", ["POST / abcde chunked"]),
    Case("chunk extension", CHUNKED + b"3;a=b\r\nabc\r\n0\r\n\r\n", ["POST / abc chunked"]),
    Case(
        "trailers",
        CHUNKED + b"1\r\nx\r\n0\r\nX-Sum:  1 \r\n\r\n" + get(),
        ["POST / x chunked trailers=[(b'x-sum', b'1')]", "GET / -"],
    ),
    Case("any case of chunked", post(b"Transfer-Encoding: CHUNKED", body=b"0\r\n\r\n"), ["POST / - chunked"]),
    Case("HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n", ["GET / - close 1.0"]),
    Case("HTTP/1.0 kept", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", ["GET / - 1.0"]),
    Case("close", get(b"/", b"Connection: close"), ["GET / - close"]),
    Case("absolute form", get(b"http://b/x"), ["GET http://b/x -"]),
    Case("asterisk form", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", ["OPTIONS * -"]),
    Case("connect", b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\nraw", ["CONNECT a:80 - upgrade"]),
    Case("upgrade", get(b"/", b"Connection: Upgrade", b"Upgrade: ws") + b"raw", ["GET / - upgrade"]),
    Case("upgrade not asked", get(b"/", b"Upgrade: h2c"), ["GET / -"]),
    Case("100 fields", get(b"/", *[b"X: 1"] * 99), ["GET / -"]),
    Case("nothing yet", b"GET / HTTP/1.1\r\nHo", []),
    Case("line feeds alone", b"GET / HTTP/1.1\nHost: a\n\n", ["GET / -"]),
    Case("blank after a chunk size", CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", ["POST / abc chunked"]),
    # Envoy is more lenient than one of the libraries.
    Case(
        "blanks in the request line",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        ["GET / -"],
        instead={"h11": ([], BAD)},
    ),
    Case(
        "bytes after close",
        get(b"/", b"Connection: close") + get(),
        ["GET / - close"],
        instead={"httptools": (["GET / - close"], BAD)},
    ),
    Case(
        "no host", b"GET / HTTP/1.1\r\n\r\n", ["GET / -"], instead={"h11": ([], (400, "missing_host_header"))}
    ),
    Case("two hosts", get(b"/", b"Host: b"), ["GET / -"], instead={"h11": ([], BAD)}),
    # Both are stricter than Envoy, against request smuggling (RFC 9112 §5.2 and §2.2 allow it).
    Case("folded field", get(b"/", b"X: a", b" b"), [], BAD),
    Case("carriage return in a value", get(b"/", b"X: a\rb"), [], BAD),
]
REFUSED = [
    Case("TLS", b"\x16\x03\x01\x02\x00\x01", [], BAD),
    Case("unknown method", b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", [], BAD),
    Case("lower-case method", b"get / HTTP/1.1\r\n" + HOST + b"\r\n", [], BAD),
    Case("HTTP/1.2", b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", [], LOW),
    Case("blank in the target", get(b"/a b"), [], BAD),
    Case("target beyond ASCII", get(b"/\xc3\xa9"), [], BAD),
    Case("asterisk form of GET", get(b"*"), [], (400, "http1.invalid_url")),
    Case("relative target", get(b"foo"), [], BAD),
    Case("NUL in a value", get(b"/", b"X: a\0b"), [], (400, "http1.invalid_characters")),
    Case("control character in a value", get(b"/", b"X: a\x01b"), [], (400, "http1.invalid_characters")),
    Case("no colon", get(b"/", b"Xab"), [], BAD),
    Case("separator in a name", get(b"/", b"X(: b"), [], BAD),
    Case("no name", get(b"/", b": b"), [], BAD),
    Case("blank before the colon", post(b"Content-Length : 3", body=b"abc"), [], BAD),
    Case("two equal lengths", post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), [], BAD),
    Case("two lengths", post(b"Content-Length: 3", b"Content-Length: 4", body=b"abc"), [], BAD),
    Case("list of lengths", post(b"Content-Length: 3, 3", body=b"abc"), [], BAD),
    Case("signed length", post(b"Content-Length: +3", body=b"abc"), [], BAD),
    Case("negative length", post(b"Content-Length: -3", body=b"abc"), [], BAD),
    Case("hexadecimal length", post(b"Content-Length: 0x3", body=b"abc"), [], BAD),
    Case("empty length", post(b"Content-Length:", body=b"abc"), [], BAD),
    Case("length beyond 64 bits", post(b"Content-Length: " + b"9" * 23, body=b"abc"), [], BAD),
    Case(
        "length and chunked",
        post(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        [],
        (400, "http1.content_length_and_chunked_not_allowed"),
    ),
    *(
        Case(f"coding {fields}", post(*fields), [], (501, "http1.invalid_transfer_encoding"))
        for fields in (
            [b"Transfer-Encoding: gzip"],
            [b"Transfer-Encoding: gzip, chunked"],
            [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        )
    ),
    Case("chunk size", CHUNKED + b"zz\r\nabc\r\n0\r\n\r\n", ["POST / - open chunked"], BAD),
    Case("chunk end", CHUNKED + b"3\r\nabcXX0\r\n\r\n", ["POST / abc open chunked"], BAD),
    Case("a good one before", get(b"/1") + b"BREW /2 HTTP/1.1\r\n" + HOST + b"\r\n", ["GET /1 -"], BAD),
    Case("101 fields", get(b"/", *[b"X: 1"] * 100), [], (431, "http1.too_many_headers")),
]


def deliver(decoder: RequestDecoder, pieces: list[bytes]) -> tuple[list[str], tuple[int, str] | None]:
    error = None
    try:
        for piece in pieces:
            decoder.feed(piece)
    except CodecError as refused:
        error = (refused.status, refused.details)
    return [shown(request) for request in decoder.requests], error


def splits(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for i in range(1, len(data)):
        yield [data[:i], data[i:]]


@pytest.fixture(params=DECODERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("case", ACCEPTED + REFUSED, ids=lambda case: case.name)
def test_a_dialogue_ends_the_same_wherever_it_is_split(name: str, case: Case) -> None:
    for pieces in splits(case.data):
        assert deliver(DECODERS[name](), pieces) == case.expected(name), pieces


@pytest.mark.parametrize("version", [b" HTTP/2.0", b""])
def test_a_version_that_is_not_1_is_refused_here_or_by_its_version(name: str, version: bytes) -> None:
    decoder = DECODERS[name]()
    data = b"GET /" + version + b"\r\n" + (HOST if version else b"") + b"\r\n"
    _, error = deliver(decoder, [data])
    assert error == LOW or decoder.requests[0].version not in ("HTTP/1.0", "HTTP/1.1")


@pytest.mark.parametrize("size", [60 * 1024 + 1, 200 * 1024])
def test_a_head_that_is_too_large_is_refused(name: str, size: int) -> None:
    data = get(b"/", b"X: " + b"a" * size)
    for step in (len(data), 16 * 1024, 999):
        pieces = [data[i : i + step] for i in range(0, len(data), step)]
        assert deliver(DECODERS[name](), pieces) == ([], (431, "http1.headers_too_large"))


def test_an_endless_head_is_refused_before_it_ends(name: str) -> None:
    decoder = DECODERS[name]()
    seen, error = deliver(decoder, [b"GET / HTTP/1.1\r\nX: ", *[b"a" * 4096] * 64])
    assert (seen, error) == ([], (431, "http1.headers_too_large"))


UPGRADE = get(b"/", b"Connection: keep-alive, Upgrade", b"Upgrade: ws")


def test_an_accepted_upgrade_makes_the_rest_opaque(name: str) -> None:
    data = UPGRADE + b"GET \x00"
    for i in range(1, len(data)):
        decoder = DECODERS[name]()
        decoder.feed(data[:i])
        if decoder.requests:
            decoder.accept_upgrade()
            decoder.feed(data[i:])
        else:
            decoder.feed(data[i:])
            decoder.accept_upgrade()
        decoder.feed(b"\xff")
        (request,) = decoder.requests
        assert (b"".join(request.chunks), request.complete, decoder.idle) == (b"GET \x00\xff", False, False)


@pytest.mark.parametrize("body", [False, True], ids=["without body", "with body"])
def test_a_refused_upgrade_is_an_ordinary_request(name: str, body: bool) -> None:
    fields = [b"Connection: Upgrade", b"Upgrade: h2c", b"Content-Length: 3"]
    head = post(*fields) if body else UPGRADE
    data = head + (b"abc" if body else b"") + get(b"/2")
    for i in range(len(head), len(data) + 1):
        decoder = DECODERS[name]()
        decoder.feed(data[:i])
        if decoder.requests[0].upgrade and not decoder.requests[0].complete:
            decoder.feed(data[i:])
            decoder.refuse_upgrade()
        else:
            decoder.refuse_upgrade()
            decoder.feed(data[i:])
        first, second = decoder.requests
        assert (b"".join(first.chunks), first.complete) == (b"abc" if body else b"", True)
        assert (second.target, second.complete, decoder.idle) == (b"/2", True, True)


def test_idle_means_that_no_byte_of_a_next_message_came(name: str) -> None:
    decoder = DECODERS[name]()
    assert decoder.idle
    decoder.feed(b"G")
    assert not decoder.idle
    decoder.feed(get()[1:])
    assert decoder.idle


def test_taking_body_away_leaves_nothing_behind(name: str) -> None:
    decoder = DECODERS[name]()
    decoder.feed(post(b"Content-Length: 4", body=b"ab"))
    (request,) = decoder.requests
    assert request.take() == [b"ab"]
    decoder.feed(b"cd")
    assert (request.take(), request.chunks, request.complete) == ([b"cd"], [], True)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_raise_anything_but_a_refusal(pieces: list[bytes]) -> None:
    for make in DECODERS.values():
        deliver(make(), pieces)


@given(st.data(), st.lists(st.binary(min_size=1, max_size=20), max_size=5))
def test_any_chunked_body_arrives_whole(data: st.DataObject, chunks: list[bytes]) -> None:
    raw = CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"
    cut = data.draw(st.integers(0, len(raw)))
    for make in DECODERS.values():
        decoder = make()
        decoder.feed(raw[:cut])
        decoder.feed(raw[cut:])
        (request,) = decoder.requests
        assert (b"".join(request.chunks), request.complete) == (b"".join(chunks), True)
