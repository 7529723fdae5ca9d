"""How a route changes a request's path, and where a redirect points.

Compiled when the route table arrives; each function here returns a function of the request's own bytes. A query string
is never matched and always kept. Reference: envoy.config.route.v3.{RouteAction,RedirectAction};
source/common/router/config_impl.cc (`finalizePathHeader`, `newUri`, `processRequestHost`); reference §5.5, §5.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from proxy.config.regex import compile_regex
from proxy.config.route import RedirectAction, RouteMatch
from proxy.config.values import RegexMatchAndSubstitute

PathRewrite = Callable[[bytes], bytes]
Location = Callable[[bytes, bytes, bytes], bytes]  # scheme, authority, path with query

STATUS = {
    "MOVED_PERMANENTLY": 301,
    "FOUND": 302,
    "SEE_OTHER": 303,
    "TEMPORARY_REDIRECT": 307,
    "PERMANENT_REDIRECT": 308,
}
_DEFAULT_PORTS = {b"http": b":80", b"https": b":443"}


def path_rewrite(
    match: RouteMatch, prefix_rewrite: str, regex: RegexMatchAndSubstitute | None
) -> PathRewrite | None:
    """The rewrite of a route; None if it has none. Raises ValueError for a pattern RE2 refuses."""
    if regex is not None:
        return _substitute(regex)
    if not prefix_rewrite:
        return None
    replacement = prefix_rewrite.encode()
    prefix = match.prefix if match.prefix is not None else match.path_separated_prefix
    if prefix is None:
        # An exact path or a full regex match covers the whole path.
        return lambda path: replacement + path[_path_end(path) :]
    length = len(prefix.encode())
    return lambda path: replacement + path[length:]


def _path_end(path: bytes) -> int:
    ends = [at for at in (path.find(b"?"), path.find(b"#")) if at >= 0]
    return min(ends, default=len(path))


def _substitute(rule: RegexMatchAndSubstitute) -> PathRewrite:
    pattern = compile_regex(rule.pattern.regex)
    pieces = _pieces(rule.substitution.encode(), pattern.groups)
    if pieces is None:
        return lambda path: path

    def rewrite(path: bytes) -> bytes:
        end = _path_end(path)
        last = -1

        def replacement(match: Any) -> bytes:
            nonlocal last
            if match.start() == match.end() == last:
                return b""  # RE2 takes no empty match where the one before ended
            last = match.end()
            return b"".join([piece if isinstance(piece, bytes) else match[piece] or b"" for piece in pieces])

        replaced: bytes = pattern.sub(replacement, path[:end])
        return replaced + path[end:]

    return rewrite


def _pieces(substitution: bytes, groups: int) -> list[bytes | int] | None:
    r"""An RE2 rewrite string taken apart: `\0` to `\9` are groups, `\\` is a backslash.

    As RE2, which Envoy asks no questions: with a group the pattern does not have nothing is replaced (None), and what is
    escaped otherwise ends the text.
    """
    found: list[bytes | int] = []
    if any(int(digit) > groups for digit in re.findall(rb"(?<!\\)(?:\\\\)*\\(\d)", substitution)):
        return None
    for piece in re.findall(rb"\\.?|[^\\]+", substitution, re.DOTALL):
        if piece[:1] != b"\\":
            found.append(piece)
        elif piece == b"\\\\":
            found.append(b"\\")
        elif piece[1:].isdigit():
            found.append(int(piece[1:]))
        else:
            break
    return found


def redirect_location(match: RouteMatch, redirect: RedirectAction) -> Location:
    """Computes the `location` of a redirect."""
    new_path = _redirect_path(match, redirect)
    new_scheme = b"https" if redirect.https_redirect else redirect.scheme_redirect.encode()
    new_host = redirect.host_redirect.encode()
    new_port = b":%d" % redirect.port_redirect if redirect.port_redirect else b""

    def location(scheme: bytes, authority: bytes, path: bytes) -> bytes:
        to_scheme = new_scheme or scheme
        host = new_host or _host(authority, scheme, to_scheme, new_port)
        target = new_path(path)
        slash = b"" if target.startswith(b"/") else b"/"
        return b"%s://%s%s%s%s" % (to_scheme, host, new_port, slash, target)

    return location


def _host(authority: bytes, scheme: bytes, to_scheme: bytes, new_port: bytes) -> bytes:
    """The request's host; its port goes when another is set, or when it was the default of a scheme left behind."""
    name, colon, port = authority.rpartition(b":")
    if not colon or port.endswith(b"]"):
        return authority
    left_behind = scheme != to_scheme and _DEFAULT_PORTS.get(scheme) == b":" + port
    return name if new_port or left_behind else authority


def _redirect_path(match: RouteMatch, redirect: RedirectAction) -> PathRewrite:
    strip = redirect.strip_query
    if redirect.path_redirect:
        target = redirect.path_redirect.encode()
        if b"?" in target or strip:
            return lambda _: target
        return lambda path: target + path[_path_end(path) :]
    rewrite = path_rewrite(match, redirect.prefix_rewrite, redirect.regex_rewrite)

    def path_of(path: bytes) -> bytes:
        rewritten = rewrite(path) if rewrite is not None else path
        return rewritten[: _path_end(rewritten)] if strip else rewritten

    return path_of
