"""The app of the body and connection workloads: gives bodies of any size, takes and checks any.

    python -m bench.body_app PORT

`GET /bytes/N` answers N bytes with a content-length, `GET /chunked/N` as chunks of 16 KiB, any other GET a few bytes. A body
that is sent is compared byte for byte with `pattern` and counted: the answer's body is its length in digits, 400 if it differs.
A thread per connection with blocking sockets: what it costs is not measured.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

BLOCK = 256 * 1024
_CHUNK = 16 * 1024
_whole = bytes((i * 7 + (i >> 8)) & 0xFF for i in range(BLOCK)) * 2
pattern = memoryview(_whole)
"""A body is this again and again from its first byte; two blocks, so that any BLOCK bytes of a body are one slice of it."""


class WrongBody(Exception):
    """A body that is not `pattern`, or a message that is not HTTP."""


class Reader:
    """Messages from one blocking socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(BLOCK)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    def _more(self) -> bool:
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end == BLOCK:
            left = self._end - self._start
            self._buffer[:left] = self._buffer[self._start : self._end]
            self._start, self._end = 0, left
        size = self._sock.recv_into(self._view[self._end :])
        self._end += size
        return size > 0

    def _until(self, mark: bytes) -> bytes:
        while True:
            at = self._buffer.find(mark, self._start, self._end)
            if at >= 0:
                found = bytes(self._buffer[self._start : at])
                self._start = at + len(mark)
                return found
            if not self._more():
                raise EOFError

    def head(self) -> tuple[bytes, dict[bytes, bytes]]:
        """The first line and the fields by lower-case name. EOFError between messages is an end."""
        first, *lines = self._until(b"\r\n\r\n").split(b"\r\n")
        fields = {}
        for line in lines:
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        return first, fields

    def body(self, fields: dict[bytes, bytes]) -> int:
        """Takes a message's body and compares it; returns its bytes. Raises WrongBody."""
        if fields.get(b"transfer-encoding", b"").lower() != b"chunked":
            return self._checked(int(fields.get(b"content-length", b"0")), 0)
        at = 0
        while True:
            size = int(self._until(b"\r\n"), 16)
            at += self._checked(size, at)
            if self._until(b"\r\n"):
                raise WrongBody("a chunk or a body ends with something else")
            if not size:
                return at

    def text(self, fields: dict[bytes, bytes]) -> bytes:
        """A short body as it is, with its length announced."""
        size = int(fields[b"content-length"])
        while self._end - self._start < size:
            if not self._more():
                raise WrongBody("the connection ended inside a body")
        found = bytes(self._buffer[self._start : self._start + size])
        self._start += size
        return found

    def _checked(self, size: int, at: int) -> int:
        left = size
        while left:
            if self._start == self._end and not self._more():
                raise WrongBody(f"the connection ended {left} bytes early")
            part = min(left, self._end - self._start)
            offset = (at + size - left) % BLOCK
            # Two memoryviews are compared item by item, 250 times slower than bytes.
            if not _whole.startswith(self._view[self._start : self._start + part], offset):
                raise WrongBody(f"the body differs within {part} bytes from {at + size - left}")
            self._start += part
            left -= part
        return size


def send_body(sock: socket.socket, size: int, chunk_bytes: int = 0) -> None:
    """Sends `size` bytes of `pattern`, in chunks of `chunk_bytes` or as they are."""
    step = chunk_bytes or BLOCK
    for at in range(0, size, step):
        part = min(step, size - at)
        piece = pattern[at % BLOCK : at % BLOCK + part]
        sock.sendall(b"%x\r\n%b\r\n" % (part, bytes(piece)) if chunk_bytes else piece)
    if chunk_bytes:
        sock.sendall(b"0\r\n\r\n")


def _answer(sock: socket.socket, reader: Reader) -> None:
    first, fields = reader.head()
    method, target, _ = first.split(b" ", 2)
    status, size, chunked, text = b"200 OK", 0, False, b"ok"
    if method == b"POST":
        try:
            text = b"%d" % reader.body(fields)
        except WrongBody as error:
            status, text = b"400 Bad Request", str(error).encode()
    _, kind, *rest = target.partition(b"?")[0].split(b"/")
    if method == b"GET" and kind in (b"bytes", b"chunked") and rest:
        size, chunked, text = int(rest[0]), kind == b"chunked", b""
    framing = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % (size or len(text))
    head = b"HTTP/1.1 %b\r\ncontent-type: text/plain\r\n%b\r\n\r\n" % (status, framing)
    sock.sendall(head + text)
    if size:
        send_body(sock, size, _CHUNK if chunked else 0)


def _serve(sock: socket.socket) -> None:
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(sock)
        try:
            while True:
                _answer(sock, reader)
        except (EOFError, OSError):
            return


def main() -> None:
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=_serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        os._exit(0)
