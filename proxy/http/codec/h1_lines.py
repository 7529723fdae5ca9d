"""Heads as most of them are, read line by line; on a mesh the same lines come again and again, and are read once.

Of anything out of the ordinary None is said, and a parser judges it: this is a part of the grammar only, in which it says what
the parser would. What is remembered has a bound, and none of it is one caller's: no credentials, no ids.
Reference: RFC 9112 §3 to §5.
"""

from __future__ import annotations

from typing import Any, Final

from proxy.http.codec.h1_encode import status_line
from proxy.http.codec.interface import Message, Request, Response

_DIGITS, _LETTERS = b"0123456789", b"abcdefghijklmnopqrstuvwxyz"


def _keeping(ordinary: bytes) -> bytes:
    """A table for `bytes.translate` that changes all bytes but these."""
    return bytes(byte if byte in ordinary else byte ^ 1 for byte in range(256))


_NAME: Final = _keeping(_DIGITS + _LETTERS + b"!#$%&'*+-.^_`|~")
_VALUE: Final = _keeping(bytes(range(ord(" "), ord("~") + 1)) + b"\t")
_PATH: Final = _keeping(_DIGITS + _LETTERS + _LETTERS.upper() + b"-._~%!$&'()*+,;=:@/?")

_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_STATUSES: Final = {status_line(status): status for status in range(200, 600)}

# What decides where a message, or its connection, ends, and the lines of it that are read here, whatever the case of the name.
_FRAMING: Final = frozenset({b"connection", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_FRAMING_LINES: Final = frozenset(
    {
        b"connection: keep-alive",
        b"connection: Keep-Alive",
        b"connection: close",
        b"transfer-encoding: chunked",
    }
)
_DIGITS_OF_A_LENGTH: Final = 15

_COME_AGAIN: Final = frozenset(
    b"""accept accept-encoding accept-language cache-control connection content-encoding content-length content-type date
    host keep-alive origin pragma priority sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode
    sec-fetch-site sec-fetch-user server strict-transport-security te transfer-encoding upgrade-insecure-requests user-agent
    vary via x-content-type-options x-envoy-attempt-count x-envoy-decorator-operation x-envoy-expected-rq-timeout-ms
    x-envoy-peer-metadata x-envoy-peer-metadata-id x-envoy-upstream-service-time x-forwarded-client-cert x-forwarded-proto
    x-frame-options x-powered-by""".split()
)
# What is remembered at most: half a MiB, and in practice a tenth of that.
_LINES: Final = 512
_LINE_BYTES: Final = 512
remembered: Final[dict[bytes, Any]] = {}
"""Name and value by line. Any: of what it knows to be a tuple, compiled code would make a new one each time."""


def request_of(head: bytes) -> Request | None:
    """The request with this head, which has no empty line at its end; None if it is not ordinary."""
    lines = head.split(b"\r\n")
    start = lines.pop(0).split(b" ")
    if len(start) != 3 or start[0] not in _METHODS or start[2] != b"HTTP/1.1":
        return None
    target = start[1]
    if target[:1] != b"/" or target.translate(_PATH) != target:
        return None
    request = Request()
    if not _fill(request, lines):
        return None
    fields = request.fields
    if b"transfer-encoding" in fields:
        return None  # chunks are what a parser reads fast
    request.method, request.target = start[0], target
    length = fields.get(b"content-length")
    request.framed = length is not None and int(length) > 0
    request.keep_alive = fields.get(b"connection") != b"close"
    return request


def read_response(head: bytes, response: Response) -> int:
    """Fill in the headers of a response with this head; the status, or 0 if the head is not ordinary."""
    lines = head.split(b"\r\n")
    status = _STATUSES.get(lines.pop(0))
    if status is None or not _fill(response, lines):
        return 0
    return status


def _fill(message: Message, lines: list[bytes]) -> bool:
    """Whether all of its lines are ordinary, and no name comes twice."""
    headers = message.headers
    for line in lines:
        pair = remembered.get(line)
        if pair is None:
            pair = _read(line)
            if pair is None:
                return False
        headers.append(pair)
    message.fields = fields = dict(headers)
    return len(fields) == len(headers)


def _read(line: bytes) -> Any:
    """Name and value; None if the line is not ordinary."""
    name, _, value = line.partition(b":")
    name, value = name.lower(), value.strip(b" \t")
    if not name or not value or name.translate(_NAME) != name or value.translate(_VALUE) != value:
        return None
    if name in _FRAMING and name + line[len(name) :] not in _FRAMING_LINES:
        return None
    if name == b"content-length" and not (value.isdigit() and len(value) <= _DIGITS_OF_A_LENGTH):
        return None
    pair = (name, value)
    if name in _COME_AGAIN and len(line) <= _LINE_BYTES:
        if len(remembered) >= _LINES:
            remembered.clear()
        remembered[line] = pair
    return pair
