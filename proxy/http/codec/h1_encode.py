"""HTTP/1.1 heads and chunks as bytes, in Envoy's spelling: lower-case names, standard reason phrases.

Decides framing bytes only; which headers there are is decided by the connection manager and the router. Callers
join what they can into one write.
Reference: RFC 9112, Envoy source/common/http/codes.cc for the reason phrases.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from proxy.http.codec.interface import Headers

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

# Where Envoy's phrase is not Python's (which changes between versions, too).
_ENVOY_PHRASES = {
    104: "Upload Resumption Supported",
    302: "Found",
    413: "Payload Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    418: "Unknown",
    421: "Misdirected Request",
    422: "Unprocessable Entity",
    425: "Unknown",
    451: "Unknown",
    599: "Last Unassigned Server Error Code",
}


def reason_phrase(status: int) -> str:
    """The phrase for a status, `Unknown` for a status without one, as Envoy writes it."""
    found = _ENVOY_PHRASES.get(status)
    if found is None:
        try:
            return HTTPStatus(status).phrase
        except ValueError:
            return "Unknown"
    return found


def status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {reason_phrase(status)}".encode("ascii")


class _StatusLines(dict[int, bytes]):
    def __missing__(self, status: int) -> bytes:
        self[status] = line = status_line(status)
        return line


_status_lines: Final = _StatusLines()


def response_head(status: int, headers: Headers) -> bytes:
    """Status line, headers and the empty line."""
    return _head([_status_lines[status]], headers)


def request_head(method: bytes, target: bytes, headers: Headers) -> bytes:
    """Request line, headers and the empty line."""
    return _head([method, b" ", target, b" HTTP/1.1"], headers)


def _head(pieces: list[bytes], headers: Headers) -> bytes:
    """One join of all there is. Compiled this is the shortest way; from source a join of each line first would be."""
    for name, value in headers:
        pieces.append(b"\r\n")
        pieces.append(name)
        pieces.append(b": ")
        pieces.append(value)
    pieces.append(b"\r\n\r\n")
    return b"".join(pieces)


def respelled(headers: Headers, spelling: dict[bytes, bytes]) -> Headers:
    """The headers with names as a message came with them; others stay as they are."""
    return [(spelling.get(name, name), value) for name, value in headers]


JOINED = 16 * 1024
"""Bytes up to which a body is joined to what goes out with it; a longer one is not worth the copy. One TLS record."""


def joined(pieces: list[bytes]) -> bytes | None:
    """The pieces as one; None where they are too long for that."""
    return b"".join(pieces) if sum(map(len, pieces)) <= JOINED else None


def chunked(head: bytes, pieces: list[bytes], tail: bytes) -> list[bytes]:
    """What is there of a body as one chunk, between a head and the end of the body, either of which may be empty.

    As Envoy, which does not keep the sender's chunks either.
    """
    size = sum(map(len, pieces))
    if not size:
        return [head + tail]
    if size <= JOINED:
        return [b"%b%x\r\n%b\r\n%b" % (head, size, pieces[0] if len(pieces) == 1 else b"".join(pieces), tail)]
    return [b"%b%x\r\n" % (head, size), *pieces, b"\r\n" + tail]


def last_chunk(trailers: Headers | None) -> bytes:
    """The end of a chunked body, with its trailers if there are any."""
    if not trailers:
        return LAST_CHUNK
    return b"".join([b"0\r\n", *[name + b": " + value + b"\r\n" for name, value in trailers], b"\r\n"])
