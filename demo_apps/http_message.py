"""HTTP/1.1 messages on a blocking byte stream: what both the demo servers and the demo client read and write.

Decides where a message ends (RFC 9112 section 6) and keeps header names, their order and their case as received,
because the echo app reports them. It must not know which side of the connection it serves, nor of any mesh.
Invariant: after `read_body` the stream stands at the first byte of the next message, or an error was raised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

Headers = list[tuple[str, str]]

# A sidecar refuses heads over 60 KiB; an app that took less would hide what the sidecar let through.
MAX_HEAD_BYTES = 96 * 1024


class MessageError(Exception):
    """The peer sent something that is not HTTP/1.1, or closed in the middle of a message."""


class Stream(Protocol):
    """What `socket.makefile("rb")` gives."""

    def readline(self, limit: int = -1, /) -> bytes: ...
    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(slots=True)
class Head:
    """A start line and headers; `raw` is exactly what was received, the empty line included."""

    start_line: str
    headers: Headers
    raw: bytes


@dataclass(slots=True)
class Body:
    """A whole body without its framing; `raw` is what was received, chunk sizes included."""

    data: bytes
    trailers: Headers
    raw: bytes


def header(headers: Headers, name: str, default: str = "") -> str:
    """All values of `name` (any case) joined with commas, or `default`."""
    found = [value for key, value in headers if key.lower() == name]
    return ",".join(found) if found else default


def tokens(headers: Headers, name: str) -> list[str]:
    """The comma-separated elements of a header, in lower case: `Connection`, `Transfer-Encoding`, `Expect`."""
    return [token.strip().lower() for token in header(headers, name).split(",") if token.strip()]


def _line(stream: Stream, limit: int) -> bytes:
    line = stream.readline(limit)
    if not line.endswith(b"\n"):
        raise MessageError("line too long" if len(line) >= limit else "closed inside a message")
    return line


def _fields(stream: Stream, limit: int) -> tuple[Headers, bytes]:
    """Header or trailer fields up to and including the empty line."""
    headers: Headers = []
    raw = b""
    while (line := _line(stream, limit - len(raw))).strip():
        raw += line
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():
            raise MessageError(f"bad header line {line!r}")
        headers.append((name, value.strip()))
    return headers, raw + line


def read_head(stream: Stream) -> Head | None:
    """The next message head, or None when the peer closed between messages.

    Raises: MessageError when it is cut short, too large or malformed.
    """
    first = stream.readline(MAX_HEAD_BYTES)
    if not first:
        return None
    if not first.endswith(b"\n"):
        raise MessageError("closed inside a message")
    headers, raw = _fields(stream, MAX_HEAD_BYTES - len(first))
    return Head(first.decode("latin-1").rstrip("\r\n"), headers, first + raw)


def read_body(stream: Stream, headers: Headers, *, until_close: bool = False) -> Body:
    """The body that `headers` announce; `until_close` is the rule for a response with no length.

    Raises: MessageError when the length is malformed or the body is cut short.
    """
    if "chunked" in tokens(headers, "transfer-encoding"):
        return _read_chunked(stream)
    length = header(headers, "content-length")
    if length:
        if not length.isdecimal():
            raise MessageError(f"bad content-length {length!r}")
        data = stream.read(int(length))
        if len(data) < int(length):
            raise MessageError("closed inside a body")
    else:
        data = stream.read() if until_close else b""
    return Body(data, [], data)


def _read_chunked(stream: Stream) -> Body:
    data, raw = b"", b""
    while True:
        line = _line(stream, 4096)
        raw += line
        digits = line.split(b";")[0].strip()
        try:
            size = int(digits, 16)
        except ValueError:
            raise MessageError(f"bad chunk size {digits!r}") from None
        if size == 0:
            trailers, end = _fields(stream, MAX_HEAD_BYTES)
            return Body(data, trailers, raw + end)
        chunk = stream.read(size)
        end = _line(stream, 4)
        if len(chunk) < size or end.strip():
            raise MessageError("chunk longer or shorter than its size")
        data += chunk
        raw += chunk + end


def head_bytes(start_line: str, headers: Headers) -> bytes:
    """The bytes of a head. Raises MessageError where a value would start a header of its own."""
    lines = [start_line, *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise MessageError("line break in a header")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def last_chunk(trailers: Headers) -> bytes:
    return head_bytes("0", trailers)
