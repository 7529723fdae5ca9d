"""What is held of a request body: everything once to each attempt, and never more than the limit for a further one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.router.request_buffer import LIMIT, RequestBuffer

CHUNKS = st.lists(st.binary(min_size=1, max_size=5), max_size=4)


@given(turns=st.lists(st.tuples(CHUNKS, st.booleans())))
def test_every_attempt_gets_the_whole_body(turns: list[tuple[list[bytes], bool]]) -> None:
    """A turn: chunks arrive, then the attempt sends; or it fails, and the next begins from the start."""
    buffer, body, sent = RequestBuffer(keeps=True), b"", b""
    for chunks, fails in turns:
        buffer.add(chunks)
        body += b"".join(chunks)
        if fails:
            buffer.rewind()
            sent = b""
        else:
            sent += b"".join(buffer.take_unsent())
            assert sent == body


@given(turns=st.lists(CHUNKS), stops_at=st.integers(0, 5))
def test_without_a_further_attempt_nothing_sent_is_kept(turns: list[list[bytes]], stops_at: int) -> None:
    buffer, body, sent = RequestBuffer(keeps=True), b"", b""
    for number, chunks in enumerate(turns):
        buffer.add(chunks)
        body += b"".join(chunks)
        if number == stops_at:
            buffer.stop_keeping()
        sent += b"".join(buffer.take_unsent())
    assert sent == body
    if len(turns) > stops_at:
        assert not buffer.full
        assert "RequestBuffer 0 bytes" in repr(buffer)


def test_the_limit() -> None:
    buffer = RequestBuffer(keeps=True)
    buffer.add([b"x" * LIMIT])
    assert not buffer.over
    assert buffer.full
    buffer.add([b"x"])
    assert buffer.over


def test_small_chunks_take_no_more_room_than_large_ones() -> None:
    buffer = RequestBuffer(keeps=True)
    buffer.add([b"xy"] * 30_000)
    assert [len(chunk) for chunk in buffer.take_unsent()] == [60_000]
