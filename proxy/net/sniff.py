"""What kind of bytes a new connection begins with, from a peek at them: TLS with its SNI and ALPN, or HTTP.

Pure functions over the bytes seen so far, as Envoy's tls_inspector and http_inspector; asked again with more bytes while
they answer `NEED_MORE`. They never raise, whatever the bytes. Invariant: an answer other than `NEED_MORE` does not
change when more bytes arrive.
Reference: RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301; Envoy source/extensions/filters/listener/{tls,http}_inspector.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    NEED_MORE = "need more bytes"
    NO = "not this protocol"


NEED_MORE = Verdict.NEED_MORE
NO = Verdict.NO

MAX_CLIENT_HELLO = 16 * 1024  # Envoy's TLS_MAX_CLIENT_HELLO: a longer hello is not inspected
MAX_REQUEST_LINE = (
    64 * 1024
)  # Envoy's MAX_INSPECT_SIZE: bytes looked at for the end of an HTTP/1 request line

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN = 0, 16
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Envoy's parser takes any token for a method here, blanks in any number, and for a target what begins with `/` or `*`, or
# has a scheme. A target without a version is HTTP/0.9, which it calls http/1.0, as every version but 1.1.
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(
    rb"(?P<method>[!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]+(?P<target>[\x01-\x08\x0b\x0c\x0e-\x1f!-~]+)"
    rb"(?:[ \t]+HTTP/(?P<version>[0-9]\.[0-9]))?[ \t]*\Z"
)
_TARGET = re.compile(rb"[/*]|[A-Za-z][A-Za-z0-9+.\-]*://")


@dataclass(frozen=True, slots=True)
class ClientHello:
    """`server_name` is lower-cased, empty if none was sent; `alpn` is the client's list in its order."""

    server_name: str = ""
    alpn: tuple[str, ...] = ()


class _Short(Exception):
    """A length runs past the end of what holds it."""


def client_hello(data: bytes) -> ClientHello | Verdict:
    """The TLS ClientHello that `data` starts with. `NO` when it starts with something else."""
    handshake, broken_off = _handshake_bytes(data)
    if handshake and handshake[0] != _CLIENT_HELLO:
        return NO
    size = int.from_bytes(handshake[1:4], "big") if len(handshake) >= 4 else 0
    if size > MAX_CLIENT_HELLO:
        return NO
    if len(handshake) < 4 + size:
        return NO if broken_off else NEED_MORE
    try:
        return _parse_hello(handshake[4 : 4 + size])
    except (_Short, IndexError):
        return NO


def _handshake_bytes(data: bytes) -> tuple[bytes, bool]:
    """The handshake stream inside the TLS records as far as it has arrived, and whether no more of it can follow."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        # A record without content would let a hello of any size be announced and never come.
        head = data[at : at + 5]
        empty = len(head) == 5 and head[3:5] == b"\0\0"
        if head[0] != _HANDSHAKE or head[1:2] not in (b"", b"\x03") or empty:
            return b"".join(parts), True
        size = int.from_bytes(head[3:5], "big")
        parts.append(data[at + 5 : at + 5 + size])
        at += 5 + size
    return b"".join(parts), False


def _parse_hello(hello: bytes) -> ClientHello:
    """Every new mTLS connection comes by here, so lengths are added up in place. Raises _Short or IndexError."""
    at = 2 + 32  # version, random
    at += 1 + hello[at]  # session id
    at += 2 + (hello[at] << 8 | hello[at + 1])  # cipher suites
    at += 1 + hello[at]  # compression methods
    if at == len(hello):
        return ClientHello()
    server_name = ""
    alpn: tuple[str, ...] = ()
    at, end = _vector(hello, at, len(hello))
    while at < end:
        kind = hello[at] << 8 | hello[at + 1]
        at, body_end = _vector(hello, at + 2, end)
        if kind == _SERVER_NAME:
            server_name = _server_name(hello, at, body_end)
        elif kind == _ALPN:
            alpn = _alpn(hello, at, body_end)
        at = body_end
    return ClientHello(server_name, alpn)


def _vector(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Where a vector with a length of two bytes begins and ends. It must end by `end`."""
    begin = at + 2
    if begin > end:
        raise _Short
    stop = begin + (data[at] << 8 | data[at + 1])
    if stop > end:
        raise _Short
    return begin, stop


def _server_name(hello: bytes, at: int, end: int) -> str:
    at, end = _vector(hello, at, end)
    while at < end:
        kind = hello[at]
        at, name_end = _vector(hello, at + 1, end)
        if kind == 0:
            return hello[at:name_end].decode("ascii", "replace").lower()
        at = name_end
    return ""


def _alpn(hello: bytes, at: int, end: int) -> tuple[str, ...]:
    at, end = _vector(hello, at, end)
    found = []
    while at < end:
        name_end = at + 1 + hello[at]
        if name_end > end:
            raise _Short
        found.append(hello[at + 1 : name_end].decode("latin-1"))
        at = name_end
    return tuple(found)


def http_protocol(data: bytes) -> str | Verdict:
    """`http/1.0`, `http/1.1` or `h2c`, the names Envoy's http_inspector gives; `NO` for anything else.

    Where no more bytes can make it HTTP the answer is `NO` at once; Envoy waits for the end of the line.
    """
    if H2_PREFACE.startswith(data[: len(H2_PREFACE)]):
        return "h2c" if len(data) >= len(H2_PREFACE) else NEED_MORE
    end = data.find(b"\n", 0, MAX_REQUEST_LINE)
    if end < 0:
        method = _TOKEN.match(data)
        hopeless = method is None or data[method.end() : method.end() + 1] not in (b"", b" ", b"\t")
        return NO if hopeless or len(data) >= MAX_REQUEST_LINE else NEED_MORE
    line = _REQUEST_LINE.match(data[:end].removesuffix(b"\r"))
    if line is None or not (line["method"] == b"CONNECT" or _TARGET.match(line["target"])):
        return NO
    return "http/1.1" if line["version"] == b"1.1" else "http/1.0"
