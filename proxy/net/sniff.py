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


class _Reader:
    """Takes big-endian lengths and bytes off a buffer."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise _Short
        part = self._data[self._at : end]
        self._at = end
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, length_size: int) -> _Reader:
        return _Reader(self.take(self.number(length_size)))

    def __bool__(self) -> bool:
        return self._at < len(self._data)


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
        return _parse_hello(_Reader(handshake[4 : 4 + size]))
    except _Short:
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


def _parse_hello(hello: _Reader) -> ClientHello:
    hello.take(2 + 32)  # version, random
    hello.vector(1)  # session id
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    server_name = ""
    alpn: tuple[str, ...] = ()
    extensions = hello.vector(2) if hello else hello
    while extensions:
        kind = extensions.number(2)
        body = extensions.vector(2)
        if kind == _SERVER_NAME:
            server_name = _server_name(body)
        elif kind == _ALPN:
            alpn = _alpn(body)
    return ClientHello(server_name, alpn)


def _server_name(body: _Reader) -> str:
    names = body.vector(2)
    while names:
        kind, name = names.number(1), names.vector(2)
        if kind == 0:
            return name.take(len(name._data)).decode("ascii", "replace").lower()
    return ""


def _alpn(body: _Reader) -> tuple[str, ...]:
    protocols, found = body.vector(2), []
    while protocols:
        name = protocols.vector(1)
        found.append(name.take(len(name._data)).decode("latin-1"))
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
