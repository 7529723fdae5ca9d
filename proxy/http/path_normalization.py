"""One spelling per path, before any rule looks at it.

RFC 3986 dot segments, percent-encoded unreserved characters and unencoded forbidden ones, optionally repeated and
escaped slashes; the query is left alone. A path that cannot be normalized safely is refused. Pure.
Reference: Envoy source/common/http/path_utility.cc, HCM `normalize_path`, `merge_slashes`,
`path_with_escaped_slashes_action`.
"""

from __future__ import annotations

import re
from enum import Enum

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})|%")
# A `%` that begins no escape stays, but must not begin one because of what is decoded behind it: then it is encoded.
_LONE = b"\0"
_LONE_BEFORE_HEX = re.compile(rb"\0(?=[0-9A-Fa-f]{2})")
# A dot segment's parameters do not hide it, and go with it: Envoy's URL library reads it so where nothing is escaped.
_DOTS_WITH_PARAMETERS = re.compile(rb"(?<=/)(\.\.?);[^/]*")
_ESCAPED_SLASH = re.compile(rb"%(?:2[Ff]|5[Cc])")
_SLASHES = re.compile(rb"/{2,}")
# A path without any of these is normal already.
_SUSPECT = re.compile(rb"%|/\.|[\\#|{}\"^`<>]")
_SUSPECT_OR_SLASHES = re.compile(rb"%|/\.|[\\#|{}\"^`<>]|//")
_FRAGMENT = re.compile(rb"#")
_ENCODED = re.compile(rb"[|{}\"^`<>]")  # in no URL as themselves (RFC 3986 §2)


class EscapedSlashes(Enum):
    """`path_with_escaped_slashes_action`."""

    KEEP_UNCHANGED = "KEEP_UNCHANGED"
    REJECT_REQUEST = "REJECT_REQUEST"
    UNESCAPE_AND_REDIRECT = "UNESCAPE_AND_REDIRECT"
    UNESCAPE_AND_FORWARD = "UNESCAPE_AND_FORWARD"


class PathRefused(Exception):
    """The path is unacceptable: 400 with code details `path_normalization_failed`."""


class PathRedirect(Exception):
    """The client shall ask again with `path` (307)."""

    def __init__(self, path: bytes) -> None:
        super().__init__(path)
        self.path = path


def suspect(*, normalize_path: bool, merge_slashes: bool, escaped: EscapedSlashes) -> re.Pattern[bytes]:
    """What a target must contain for `normalize` to change or refuse it."""
    if merge_slashes:
        return _SUSPECT_OR_SLASHES
    return _SUSPECT if normalize_path or escaped is not EscapedSlashes.KEEP_UNCHANGED else _FRAGMENT


def normalize(target: bytes, *, normalize_path: bool, merge_slashes: bool, escaped: EscapedSlashes) -> bytes:
    """The path and query to use for `target` (origin form); raises PathRefused or PathRedirect."""
    if b"#" in target:
        raise PathRefused  # a fragment is the client's own
    path, mark, query = target.partition(b"?")
    unescaped = path
    if escaped is not EscapedSlashes.KEEP_UNCHANGED and _ESCAPED_SLASH.search(path):
        if escaped is EscapedSlashes.REJECT_REQUEST:
            raise PathRefused
        unescaped = re.sub(rb"%2[Ff]", b"/", re.sub(rb"%5[Cc]", b"\\\\", path))
    result = _canonical(unescaped) if normalize_path and _SUSPECT.search(unescaped) else unescaped
    if merge_slashes and b"//" in result:
        # Envoy joins what stands between slashes, and of nothing but slashes keeps the first and the last.
        result = _SLASHES.sub(b"/", result) if result.strip(b"/") else b"//"
    if unescaped is not path and escaped is EscapedSlashes.UNESCAPE_AND_REDIRECT:
        raise PathRedirect(result + mark + query)
    return result + mark + query


def _canonical(path: bytes) -> bytes:
    if b"%00" in path:
        raise PathRefused
    if b";" in path:
        path = _DOTS_WITH_PARAMETERS.sub(rb"\1", path)
    path = _ENCODED.sub(_encode, path)
    path = _ESCAPE.sub(_decode_unreserved, path.replace(b"\\", b"/"))
    if _LONE in path:
        path = _LONE_BEFORE_HEX.sub(b"%25", path).replace(_LONE, b"%")
    return _remove_dot_segments(path) if b"/." in path else path


def _encode(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


def _decode_unreserved(escape: re.Match[bytes]) -> bytes:
    if escape[1] is None:
        return _LONE
    code = int(escape[1], 16)
    return bytes((code,)) if code in _UNRESERVED else escape[0]


def _remove_dot_segments(path: bytes) -> bytes:
    """RFC 3986 §5.2.4."""
    segments = path.split(b"/")[1:]
    kept: list[bytes] = []
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment != b".":
            kept.append(segment)
    if segments[-1] in (b".", b".."):
        kept.append(b"")
    return b"/" + b"/".join(kept)
