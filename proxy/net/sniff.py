"""What kind of bytes a new connection begins with, from a peek at them: TLS with its SNI and ALPN, or HTTP.

Pure functions over the bytes seen so far, as Envoy's tls_inspector and http_inspector; asked again with more bytes while
they answer `NEED_MORE`. They never raise, whatever the bytes. Invariant: an answer other than `NEED_MORE` does not
change when more bytes arrive.
Reference: RFC 8446 §4.1.2, RFC 6066 §3, RFC 7301; Envoy source/extensions/filters/listener/{tls,http}_inspector.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    NEED_MORE = "need more bytes"
    NO = "not this protocol"


NEED_MORE = Verdict.NEED_MORE
NO = Verdict.NO

MAX_CLIENT_HELLO = 16 * 1024  # Envoy's TLS_MAX_CLIENT_HELLO: a longer hello is not inspected
MAX_REQUEST_LINE = 8 * 1024  # bytes looked at for the end of an HTTP/1 request line

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN = 0, 16
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# What Envoy's parser takes for a method; the first letter alone rules most other protocols out.
METHODS = frozenset(
    b"ACL BIND CHECKOUT CONNECT COPY DELETE GET HEAD LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE MSEARCH NOTIFY "
    b"OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT REBIND REPORT SEARCH SOURCE SUBSCRIBE TRACE UNBIND UNLINK UNLOCK "
    b"UNSUBSCRIBE".split()
)
_FIRST_LETTERS = frozenset(method[:1] for method in METHODS)


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
    handshake = _handshake_bytes(data)
    if isinstance(handshake, Verdict):
        return handshake
    if handshake and handshake[0] != _CLIENT_HELLO:
        return NO
    if len(handshake) < 4:
        return NEED_MORE
    size = int.from_bytes(handshake[1:4], "big")
    if size > MAX_CLIENT_HELLO:
        return NO
    if len(handshake) < 4 + size:
        return NEED_MORE
    try:
        return _parse_hello(_Reader(handshake[4 : 4 + size]))
    except _Short:
        return NO


def _handshake_bytes(data: bytes) -> bytes | Verdict:
    """The handshake stream inside the TLS records, as far as it has arrived."""
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        if data[at] != _HANDSHAKE or (len(data) > at + 1 and data[at + 1] != 3):
            return b"".join(parts) if parts else NO
        if len(data) < at + 5:
            break
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        parts.append(data[at + 5 : at + 5 + size])
        at += 5 + size
    return b"".join(parts) if parts else NEED_MORE


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
    """`http/1.0`, `http/1.1` or `h2c`, the names Envoy's http_inspector gives; `NO` for anything else."""
    if H2_PREFACE.startswith(data[: len(H2_PREFACE)]):
        return "h2c" if len(data) >= len(H2_PREFACE) else NEED_MORE
    end = data.find(b"\n", 0, MAX_REQUEST_LINE)
    line = data[:MAX_REQUEST_LINE] if end < 0 else data[:end].removesuffix(b"\r")
    if line[:1] not in _FIRST_LETTERS:
        return NO
    if end < 0:
        return NEED_MORE if len(data) < MAX_REQUEST_LINE else NO
    method, _, rest = line.partition(b" ")
    target, _, version = rest.rpartition(b" ")
    if method not in METHODS or not target or version not in (b"HTTP/1.0", b"HTTP/1.1"):
        return NO
    return version.decode().lower()
