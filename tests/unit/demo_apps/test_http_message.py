"""Where a message ends, and that what was received is kept as it was."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_apps.http_message import MessageError, chunk, head_bytes, last_chunk, read_body, read_head


def test_head_keeps_order_case_and_bytes() -> None:
    raw = b"GET /a HTTP/1.1\r\nHost: x\r\nX-B: 2\r\nx-a:1\r\nX-B: 3\r\n\r\n"
    head = read_head(io.BytesIO(raw + b"rest"))
    assert head is not None
    assert head.start_line == "GET /a HTTP/1.1"
    assert head.headers == [("Host", "x"), ("X-B", "2"), ("x-a", "1"), ("X-B", "3")]
    assert head.raw == raw


def test_no_head_where_the_peer_closed_between_messages() -> None:
    assert read_head(io.BytesIO(b"")) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET / HTTP/1.1\r\nname : space\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: no\r\n\r\n",
        b"GET / HTTP/1.1\r\na: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
)
def test_malformed_heads_are_refused(raw: bytes) -> None:
    with pytest.raises(MessageError):
        read_head(io.BytesIO(raw))


@given(st.lists(st.binary(min_size=1, max_size=50)), st.binary(max_size=20))
def test_chunked_bodies_come_back_whole(pieces: list[bytes], after: bytes) -> None:
    raw = b"".join(chunk(piece) for piece in pieces) + last_chunk([("x-sum", "1")])
    stream = io.BytesIO(raw + after)
    body = read_body(stream, [("Transfer-Encoding", "chunked")])
    assert (body.data, body.trailers, body.raw) == (b"".join(pieces), [("x-sum", "1")], raw)
    assert stream.read() == after


def test_chunk_extensions_are_ignored() -> None:
    assert (
        read_body(io.BytesIO(b"2;a=b\r\nhi\r\n0\r\n\r\n"), [("transfer-encoding", "chunked")]).data == b"hi"
    )


@pytest.mark.parametrize(
    ("headers", "raw"),
    [
        ([("content-length", "5")], b"four"),
        ([("content-length", "-1")], b""),
        ([("content-length", "1"), ("content-length", "1")], b"a"),
        ([("transfer-encoding", "chunked")], b"x\r\n"),
        ([("transfer-encoding", "chunked")], b"5\r\nhi\r\n0\r\n\r\n"),
        ([("transfer-encoding", "chunked")], b"1\r\nhi\r\n0\r\n\r\n"),
        ([("transfer-encoding", "chunked")], b"2\r\nhi\r\n"),
    ],
)
def test_malformed_bodies_are_refused(headers: list[tuple[str, str]], raw: bytes) -> None:
    with pytest.raises(MessageError):
        read_body(io.BytesIO(raw), headers)


def test_a_response_without_length_ends_with_the_connection() -> None:
    assert read_body(io.BytesIO(b"all of it"), [], until_close=True).data == b"all of it"
    assert read_body(io.BytesIO(b"next"), []).data == b""


def test_no_header_is_smuggled_in_by_a_value() -> None:
    with pytest.raises(MessageError):
        head_bytes("GET / HTTP/1.1", [("end-user", "eve\r\nx-admin: yes")])
