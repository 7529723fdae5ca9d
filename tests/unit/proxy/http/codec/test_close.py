"""A closed decoder is freed with its last reference: parsers hold methods of their decoders."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from proxy.http.codec import http1_codec


@pytest.fixture
def garbage() -> Iterator[list[object]]:
    """What only the garbage collector can free, of all that becomes unreachable in the test."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield gc.garbage
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("name", ["httptools", "h11"])
@pytest.mark.parametrize("spelled", [False, True])
def test_no_cycle_is_left(name: str, spelled: bool, garbage: list[object]) -> None:
    codec = http1_codec(name).preserving_case() if spelled else http1_codec(name)
    server, client = codec.request_decoder(60 * 1024, 100), codec.response_decoder()
    server.feed(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab")
    response = client.expect(b"GET")
    client.feed(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
    request = server.requests[-1]
    server.close()
    client.close()
    client.close()
    del server, client
    gc.collect()
    ours = [one for one in garbage if type(one).__module__.startswith(("proxy.", "httptools", "h11"))]
    assert ours == []
    assert (request.chunks, response.chunks) == ([b"ab"], [b"ok"])  # messages stay
