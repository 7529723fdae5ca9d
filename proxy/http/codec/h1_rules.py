"""Where Envoy is stricter, or answers differently, than the HTTP/1.1 parser libraries: the rules both decoders share.

Pure checks over one parsed head, and the mapping of a parser's complaint to Envoy's status and response code detail.
Each was compared with Envoy 1.40 (tests/differential/test_bad_requests.py).
Reference: RFC 9112 §3, §6; Envoy source/common/http/http1/codec_impl.cc.
"""

from __future__ import annotations

import re

from proxy.http.codec.interface import MAX_HEADERS_COUNT, CodecError, Headers, Request
from proxy.router.inline_headers import JOINED, JOINED_IN_ANSWERS

# What Envoy looks for in a whole head before it parses it.
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# RFC 3986 authority as Envoy's HeaderUtility::authorityIsValid accepts it.
_AUTHORITY = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:@\[\]]*\Z")

_HOST_AND_PORT = re.compile(rb"[^/?#]+:[0-9]{1,5}\Z")  # the only target CONNECT takes (RFC 9112 §3.2.3)

# Complaints of llhttp and h11, by a piece of their text, and what Envoy calls them.
_COMPLAINTS: tuple[tuple[str, int, str], ...] = (
    ("can't be present with", 400, "http1.content_length_and_chunked_not_allowed"),
    ("HTTP version", 426, "low_version"),
    ("Transfer-Encoding", 501, "http1.invalid_transfer_encoding"),
    ("header value char", 400, "http1.invalid_characters"),
    ("header field", 400, "http1.codec_error"),
)


def refusal(complaint: str) -> CodecError:
    """Envoy's answer for what a parser library complained about."""
    for piece, status, details in _COMPLAINTS:
        if piece in complaint:
            return CodecError(status, details)
    return CodecError(400, "http1.codec_error")


def bad_target(data: bytes) -> CodecError:
    """Envoy's answer for a target in `data` that a parser complained of: for control characters it has its own words."""
    details = "http1.invalid_characters" if _CONTROL.search(data) else "http1.codec_error"
    return CodecError(400, details)


def check_request(request: Request) -> None:
    """Check the head against what Envoy accepts, note how its body is framed and index its fields; raises CodecError."""
    target, headers = request.target, request.headers
    if target[:1] != b"/" or request.method == b"CONNECT":
        _check_special_target(request, target)
    elif not target.isascii():
        raise CodecError(400, "http1.codec_error")
    request.fields = fields = dict(headers)
    if len(fields) != len(headers):
        _check_repeated(request)
    coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise CodecError(400, "http1.content_length_and_chunked_not_allowed")
        if coding.lower() != b"chunked":
            raise CodecError(501, "http1.invalid_transfer_encoding")
        request.framed = request.chunked = True
    elif length is not None:
        if not length.isdigit():
            raise CodecError(400, "http1.codec_error")
        request.framed = int(length) > 0


def _check_repeated(request: Request) -> None:
    """Framing fields may not be repeated; others become one field, joined as Envoy does."""
    seen = [name for name, _ in request.headers]
    if seen.count(b"content-length") > 1:
        raise CodecError(400, "http1.codec_error")
    if seen.count(b"transfer-encoding") > 1:
        raise CodecError(501, "http1.invalid_transfer_encoding")
    _join(request.headers, request.fields, JOINED)


def _join(headers: Headers, fields: dict[bytes, bytes], names: frozenset[bytes]) -> None:
    """Make one field, where the first of them stands, of repeated ones with these names."""
    seen = [name for name, _ in headers]
    repeated = {name for name in fields if name in names and seen.count(name) > 1}
    for name in repeated:
        fields[name] = b",".join([value for field, value in headers if field == name])
    if repeated:
        headers[:] = [
            (name, fields[name] if name in repeated else value)
            for i, (name, value) in enumerate(headers)
            if name not in repeated or seen.index(name) == i
        ]


def _check_special_target(request: Request, target: bytes) -> None:
    method = request.method
    if method == b"CONNECT":
        if not _HOST_AND_PORT.match(target):
            raise CodecError(400, "http1.invalid_url")
        return
    if target == b"*":
        if method != b"OPTIONS":
            raise CodecError(400, "http1.invalid_url")
        return
    scheme, absolute, _ = target.partition(b"://")
    if not absolute:
        raise CodecError(400, "http1.codec_error")
    if scheme.lower() not in (b"http", b"https"):
        raise CodecError(400, "http1.invalid_scheme")


def check_response(status: int, headers: Headers, fields: dict[bytes, bytes]) -> None:
    """Refuse a response head Envoy refuses; raises CodecError. The client then gets 502. Joins repeated fields."""
    if len(headers) > MAX_HEADERS_COUNT:
        raise CodecError(502, "http1.too_many_headers")
    coding = fields.get(b"transfer-encoding")
    if coding is not None and (
        coding.lower() != b"chunked" or [name for name, _ in headers].count(b"transfer-encoding") > 1
    ):
        raise CodecError(502, "http1.invalid_transfer_encoding")
    if status == 204 and fields.get(b"content-length", b"0") != b"0":
        raise CodecError(502, "http1.content_length_not_allowed")
    if len(fields) != len(headers):
        _join(headers, fields, JOINED_IN_ANSWERS)


def head_size(request: Request) -> int:
    """Bytes of the target and the header fields, as counted against max_request_headers_kb."""
    return len(request.target) + sum(len(name) + len(value) for name, value in request.headers)


def check_authority(authority: bytes) -> None:
    """Refuse a Host with characters no authority has; raises CodecError."""
    if not _AUTHORITY.match(authority):
        raise CodecError(400, "http.invalid_authority")


def body_until_eof(status: int, fields: dict[bytes, bytes]) -> bool:
    """Whether a response that ends its connection is also delimited by that end (RFC 9112 §6.3)."""
    if status in (204, 304) or b"content-length" in fields:
        return False
    return not fields.get(b"transfer-encoding", b"").lower().endswith(b"chunked")


def keeps_alive(version: str, headers: Headers) -> bool:
    """Whether the connection outlives the message, from version and Connection (RFC 9112 §9.3)."""
    options = b",".join(value.lower() for name, value in headers if name == b"connection")
    if b"close" in options:
        return False
    return version != "1.0" or b"keep-alive" in options
