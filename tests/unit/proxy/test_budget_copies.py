"""How often a byte of a body is copied into a new object on its way through, from `recv` to `send`.

Counted as bytes allocated in pieces of 4 KiB and more, divided by the bytes of the body: a copy has to go somewhere. What a
read allocates is not counted, nor what a socket keeps. OpenSSL's copies are its own.
"""

from __future__ import annotations

import pytest

from tests.unit.proxy import budget, budget_meters
from tests.unit.proxy.in_memory import FakeSocket

BODY = bytes(range(256)) * 4096  # 1 MiB
TLS_RECORD, PLAIN_READ = 16 * 1024, 64 * 1024
HEADS = {
    "content-length": b"content-length: %d\r\n\r\n" % len(BODY),
    "chunked": b"transfer-encoding: chunked\r\n\r\n",
}
# What `plain` may copy of each byte. Towards the upstream it is kept as well, up to 1 MiB, because Istio's retries may need it again.
COPIES = {
    ("content-length", "up", TLS_RECORD): 1.02,
    ("content-length", "up", PLAIN_READ): 1.26,
    ("content-length", "down", TLS_RECORD): 1.02,
    ("content-length", "down", PLAIN_READ): 0.26,
    ("chunked", "up", TLS_RECORD): 4.26,
    ("chunked", "up", PLAIN_READ): 2.26,
    ("chunked", "down", TLS_RECORD): 4.26,
    ("chunked", "down", PLAIN_READ): 1.26,
}


def _on_the_wire(framing: str) -> bytes:
    if framing == "content-length":
        return BODY
    pieces = [BODY[start : start + TLS_RECORD] for start in range(0, len(BODY), TLS_RECORD)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _arrive(sock: FakeSocket, head: bytes, wire: bytes, size: int) -> None:
    """Head and body wait in the kernel, to be read in pieces of `size`."""
    sock.incoming += [head, *(wire[start : start + size] for start in range(0, len(wire), size))]


@pytest.mark.parametrize(("framing", "direction", "size"), COPIES)
def test_copies_of_a_body_byte(framing: str, direction: str, size: int) -> None:
    exchange = budget.plain()
    if direction == "up":
        source = exchange.client
        _arrive(
            source,
            b"POST /x HTTP/1.1\r\nhost: reviews:9080\r\n" + HEADS[framing],
            _on_the_wire(framing),
            size,
        )
        sink = exchange.mesh.upstream
    else:
        exchange.send()
        source, sink = exchange.mesh.upstream, exchange.client
        _arrive(source, b"HTTP/1.1 200 OK\r\n" + HEADS[framing], _on_the_wire(framing), size)
    sink.sent.clear()

    def run() -> None:
        while source.incoming:
            source.readable()
            exchange.mesh.run()

    found = budget_meters.large_allocations(run, least=4096)
    assert len(sink.sent) > len(BODY)
    limit = COPIES[framing, direction, size]
    times = {place: round(count / len(BODY), 2) for place, count in found.most_common()}
    assert found.total() <= limit * len(BODY), (
        f"{found.total() / len(BODY):.2f} copies, {limit} are allowed: {times}"
    )
