"""What a connection's first bytes are. The HTTP table is what Envoy 1.40's http_inspector said of the same bytes."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.net.sniff import H2_PREFACE, NEED_MORE, NO, ClientHello, client_hello, http_protocol


def hello(server_name: str | None = None, alpn: tuple[str, ...] = ()) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


HELLOS = [
    (hello(), ClientHello()),
    (hello("Reviews.Default"), ClientHello("reviews.default")),
    (
        hello("a", ("istio-http/1.1", "istio", "http/1.1")),
        ClientHello("a", ("istio-http/1.1", "istio", "http/1.1")),
    ),
    (
        hello("outbound_.9080_.v1_.reviews.default.svc.cluster.local", ("istio-peer-exchange", "istio")),
        ClientHello(
            "outbound_.9080_.v1_.reviews.default.svc.cluster.local", ("istio-peer-exchange", "istio")
        ),
    ),
]


def in_records(handshake: bytes, size: int) -> bytes:
    """The handshake bytes of one record, cut into records of `size` bytes."""
    parts = [handshake[i : i + size] for i in range(0, len(handshake), size)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize(("data", "wanted"), HELLOS)
def test_a_hello_is_read_when_its_last_byte_is_there(data: bytes, wanted: ClientHello) -> None:
    for i in range(len(data)):
        assert client_hello(data[:i]) is NEED_MORE
    assert client_hello(data) == wanted
    assert client_hello(data + b"more") == wanted


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_hello_may_come_in_several_records(size: int) -> None:
    data, wanted = HELLOS[2]
    cut = in_records(data[5:], size)
    assert client_hello(cut) == wanted
    assert client_hello(cut[:-1]) is NEED_MORE


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x00",
        b"\x15\x03\x01",
        b"\x16\x04",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\x00\x04\x01\x00\xff\xff",  # larger than any hello that is looked at
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",  # too short to be one
        b"\x16\x03\x01\x00\x00",  # a record without content
        b"\x16\x03\x01" + b"\x00\x02\x01\x00" + b"\x17\x03\x03\x00\x01x",  # broken off by another record
    ],
)  # fmt: skip
def test_not_tls(data: bytes) -> None:
    assert client_hello(data) is NO


H11, H10 = "http/1.1", "http/1.0"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"GET / HTTP/1.1", H11), (b"GET / HTTP/1.0", H10), (b"GET /", H10), (b"GET / HTTP/2.0", H10),
        (b"GET / HTTP/1.2", H10), (b"GET / HTTP/9.9", H10), (b"BREW / HTTP/1.1", H11), (b"get / HTTP/1.1", H11),
        (b"M-SEARCH * HTTP/1.1", H11), (b"PRI * HTTP/1.1", H11), (b"EHLO /x", H10), (b"EHLO x", NO),
        (b"GET  / HTTP/1.1", H11), (b"GET / HTTP/1.1 ", H11), (b"GET\t/\tHTTP/1.1", H11), (b"GET / HTTP/1.1\t", H11),
        (b"GET /a b HTTP/1.1", NO), (b"GET / HTTP/1.1 x", NO), (b" GET / HTTP/1.1", NO), (b"", NO), (b"GET", NO),
        (b"GET ", NO), (b"GET / FOO/1.1", NO), (b"GET / http/1.1", NO), (b"GET / HTTP/1", NO), (b"GET / HTTP/11", NO),
        (b"GET / HTTP/1.10", NO), (b"GET / 1.1", NO), (b"GET / XHTTP/1.1", NO), (b"SSH-2.0-x", NO),
        (b"GET foo HTTP/1.1", NO), (b"GET ?a HTTP/1.1", NO), (b"GET *x HTTP/1.1", H11), (b"OPTIONS * HTTP/1.1", H11),
        (b"GET http://x HTTP/1.1", H11), (b"GET ftp://x/ HTTP/1.1", H11), (b"GET HTTP://x HTTP/1.1", H11),
        (b"GET http:// HTTP/1.1", H11), (b"GET http:/x HTTP/1.1", NO), (b"GET http HTTP/1.1", NO),
        (b"CONNECT a:1 HTTP/1.1", H11), (b"CONNECT a HTTP/1.1", H11), (b"CONNECT [::1]:80 HTTP/1.1", H11),
        (b"GET /\x01 HTTP/1.1", H11), (b"GET /\x7f HTTP/1.1", NO), (b"GET /\xc3\xa9 HTTP/1.1", NO),
        (b"GET /a\rb HTTP/1.1", NO), (b"G\x00T / HTTP/1.1", NO), (b"G(T / HTTP/1.1", NO), (b"G@T / HTTP/1.1", NO),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1", H11),
    ],
)  # fmt: skip
def test_http_1(line: bytes, wanted: object) -> None:
    assert http_protocol(line + b"\r\n") == wanted
    assert http_protocol(line + b"\nHost: a") == wanted
    for i in range(1, min(len(line), 200)):
        # Never HTTP before the line has ended; and once it cannot be HTTP, it never becomes so.
        early = http_protocol(line[:i])
        assert early is NEED_MORE or (early is NO and wanted is NO)


def test_http_2() -> None:
    for i in range(len(H2_PREFACE)):
        assert http_protocol(H2_PREFACE[:i]) is NEED_MORE
    assert http_protocol(H2_PREFACE) == "h2c"
    assert http_protocol(H2_PREFACE + b"\0\0\0\x04") == "h2c"


@pytest.mark.parametrize("data", [b"\x00", b"\x16\x03", b"AMQP\x00", b"{", b"\r\n", b"\xff"])
def test_what_cannot_become_http_is_not_waited_for(data: bytes) -> None:
    assert http_protocol(data) is NO


def test_an_endless_line_is_not_waited_for() -> None:
    assert http_protocol(b"GET /" + b"a" * 65_000) is NEED_MORE
    assert http_protocol(b"GET /" + b"a" * 65_536) is NO


STARTS = st.sampled_from(
    [b"", b"GET ", b"PRI * ", b"\x16\x03\x01", b"\x16\x03\x01\x00\x08\x01\x00\x00", HELLOS[1][0]]
)


@given(STARTS, st.binary(max_size=80), st.binary(max_size=40))
def test_an_answer_stays_whatever_follows(start: bytes, data: bytes, more: bytes) -> None:
    seen = start + data
    for sniff in (client_hello, http_protocol):
        answer = sniff(seen)
        if answer is not NEED_MORE:
            assert sniff(seen + more) == answer


@given(st.sampled_from(HELLOS), st.integers(0, 300), st.binary(min_size=1, max_size=4))
def test_a_damaged_hello_raises_nothing(case: tuple[bytes, ClientHello], at: int, junk: bytes) -> None:
    data = case[0]
    client_hello(data[:at] + junk + data[at + len(junk) :])
