"""The soak's app: it answers, and at fixed places in the count it fails.

    python -m bench.soak.upstream PORT

At 127.0.0.1 as the app behind the server sidecar, and at SHADOW as the service that hears copies.

Every so many requests one is reset, every second time with half an answer before it, refused with 503, answered late, cut in
the middle or closed without an answer. By count and not by chance, so that two runs meet the same. The numbers are primes, so that failures do not fall together.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

RESET, REFUSED, LATE, CUT, CLOSED = 331, 61, 401, 701, 503
SHADOW = "127.0.0.21"
LATE_SECONDS = 0.15
"""Longer than a try may take (mesh.yaml, perTryTimeout)."""

_OK = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-answer: yes\r\ncontent-length: 12\r\n\r\nhello, soak\n"
)
_REFUSED = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 5\r\n\r\nbusy\n"
_HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of it"


class App(asyncio.Protocol):
    """One connection. Bodies have a Content-Length, as the generator and the sidecars send them."""

    served = 0

    def __init__(self) -> None:
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            size = end + 4 + content_length(self._received[:end])
            if len(self._received) < size:
                return
            self._received = self._received[size:]
            self._answer()

    def _answer(self) -> None:
        App.served += 1
        count = App.served
        if count % CLOSED == 0:
            self._transport.close()
        elif count % RESET == 0:
            if count % (2 * RESET) == 0:
                self._transport.write(_HALF)
            reset(self._transport)
        elif count % CUT == 0:
            self._transport.write(_HALF)
            self._transport.close()
        elif count % LATE == 0:
            asyncio.get_running_loop().call_later(LATE_SECONDS, self._transport.write, _OK)
        else:
            self._transport.write(_REFUSED if count % REFUSED == 0 else _OK)


def reset(transport: asyncio.WriteTransport) -> None:
    """Close so that the peer sees a reset."""
    # Lingering for zero seconds makes close() send RST (socket(7)).
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def content_length(head: bytes) -> int:
    """Of a request's head; 0 where none is announced."""
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    return int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(App, ["127.0.0.1", SHADOW], port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
