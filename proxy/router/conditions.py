"""The conditions of a route match, each compiled once and able to say what it wants.

A condition that any request meets (path prefix `/`) is left out. Path conditions see the path without its query.
Reference: envoy.config.route.v3.RouteMatch; source/common/http/header_utility.cc, source/common/router/config_utility.cc.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proxy.config.header_matcher import HeaderMatcher
from proxy.config.regex import compile_regex
from proxy.config.route import QueryParameterMatcher, RouteMatch
from proxy.config.values import Int64Range, StringMatcher

if TYPE_CHECKING:
    from proxy.router.stream import DownstreamStream

_INTEGER = re.compile(rb"[+-]?[0-9]{1,19}\Z")
Headers = list[tuple[bytes, bytes]]
Test = Callable[[bytes], bool]


class Request:
    """What a match may look at; a value. `path` includes the query; `draw` is uniform in [0, 1).

    `bare_path` is without query, and without the fragment no admitted request has.
    """

    __slots__ = ("authority", "bare_path", "draw", "headers", "method", "path", "scheme")

    def __init__(
        self, headers: Headers, authority: bytes, path: bytes, method: bytes, scheme: bytes, draw: float
    ) -> None:
        self.headers = headers
        self.authority = authority
        self.path = path
        self.bare_path = path.partition(b"?")[0].partition(b"#")[0]
        self.method = method
        self.scheme = scheme
        self.draw = draw

    def header(self, name: bytes) -> list[bytes]:
        """Each value of a header; Envoy matches them one by one (`match_headers_individually`)."""
        if name[:1] == b":":
            pseudo = {
                b":authority": self.authority,
                b":path": self.path,
                b":method": self.method,
                b":scheme": self.scheme,
            }.get(name)
            return [] if pseudo is None else [pseudo]
        return [value for key, value in self.headers if key == name]

    def pseudo_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return (
            (b":method", self.method),
            (b":authority", self.authority),
            (b":scheme", self.scheme),
            (b":path", self.path),
        )


def request_of(stream: DownstreamStream) -> Request:
    """What filters let conditions look at; no share is drawn."""
    return Request(stream.headers, stream.authority, stream.path, stream.method, stream.scheme, 0.0)


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing a request must meet; its text says what is wanted."""

    wanted: str
    matches: Callable[[Request], bool]

    def __str__(self) -> str:
        return self.wanted


def conditions(match: RouteMatch) -> tuple[Condition, ...]:
    """All conditions of a match, cheapest first. Raises ValueError(".match.path: why")."""
    found: list[Condition] = []
    path = _path(match)
    if path is not None:
        found.append(path)
    found += header_conditions(match.headers, ".match.headers")
    for i, parameter in enumerate(match.query_parameters):
        found.append(
            _named(f".match.query_parameters[{i}]", lambda parameter=parameter: _query(parameter))  # type: ignore[misc]
        )
    if match.runtime_fraction is not None:
        share = match.runtime_fraction.default_value.fraction
        found.append(Condition(f"a share of {share:.4%} of requests", lambda request: request.draw < share))
    return tuple(found)


def header_conditions(matchers: Iterable[HeaderMatcher], where: str = ".headers") -> tuple[Condition, ...]:
    """One per matcher; all must hold. Raises ValueError("WHERE[0]: why")."""
    return tuple(
        _named(f"{where}[{i}]", lambda matcher=matcher: _header(matcher))  # type: ignore[misc]
        for i, matcher in enumerate(matchers)
    )


def _named(where: str, build: Callable[[], Condition]) -> Condition:
    try:
        return build()
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _path(match: RouteMatch) -> Condition | None:
    if match.prefix is not None:
        prefix = _folded(match.prefix, match)
        if prefix == b"/":
            return (
                Condition("path starts with /", _rooted) if match.headers or match.query_parameters else None
            )
        if not match.case_sensitive:
            return Condition(
                f"path starts with {match.prefix} (any case)",
                lambda r: r.bare_path.lower().startswith(prefix),
            )
        return Condition(f"path starts with {match.prefix}", lambda r: r.bare_path.startswith(prefix))
    if match.path is not None:
        path = _folded(match.path, match)
        if not match.case_sensitive:
            return Condition(f"path is {match.path} (any case)", lambda r: r.bare_path.lower() == path)
        return Condition(f"path is {match.path}", lambda r: r.bare_path == path)
    if match.path_separated_prefix is not None:
        return _separated_prefix(match.path_separated_prefix, match.case_sensitive)
    assert match.safe_regex is not None
    try:
        regex = compile_regex(match.safe_regex.regex)
    except ValueError as error:
        raise ValueError(f".match.safe_regex: {error}") from None
    return Condition(
        f"path matches {match.safe_regex.regex}", lambda r: regex.fullmatch(r.bare_path) is not None
    )


def _folded(text: str, match: RouteMatch) -> bytes:
    return (text if match.case_sensitive else text.lower()).encode()


def _rooted(request: Request) -> bool:
    return request.path[:1] == b"/"


def _separated_prefix(prefix: str, case_sensitive: bool) -> Condition:
    wanted = prefix.encode() if case_sensitive else prefix.lower().encode()

    def matches(request: Request) -> bool:
        path = request.bare_path if case_sensitive else request.bare_path.lower()
        return path.startswith(wanted) and path[len(wanted) : len(wanted) + 1] in (b"", b"/")

    return Condition(f"path is {prefix} or below it", matches)


def string_test(matcher: StringMatcher) -> tuple[str, Test]:
    """What a string matcher wants, in words, and its test. Raises ValueError for a bad pattern."""
    if matcher.safe_regex is not None:
        regex = compile_regex(matcher.safe_regex.regex)
        return f"matches {matcher.safe_regex.regex}", lambda value: regex.fullmatch(value) is not None
    kind, pattern = next(
        (kind, text)
        for kind in ("exact", "prefix", "suffix", "contains")
        if (text := getattr(matcher, kind)) is not None
    )
    wanted = pattern.lower().encode() if matcher.ignore_case else pattern.encode()
    tests: dict[str, Test] = {
        "exact": lambda value: value == wanted,
        "prefix": lambda value: value.startswith(wanted),
        "suffix": lambda value: value.endswith(wanted),
        "contains": lambda value: wanted in value,
    }
    words = {"exact": "is", "prefix": "starts with", "suffix": "ends with", "contains": "contains"}
    test = tests[kind]
    if not pattern:
        return ("is empty" if kind == "exact" else "is anything"), test
    if matcher.ignore_case:
        return f"{words[kind]} {pattern} (any case)", lambda value: test(value.lower())
    return f"{words[kind]} {pattern}", test


def _as_string_matcher(matcher: HeaderMatcher) -> StringMatcher | None:
    """The pattern of a header matcher, whichever of its spellings was used."""
    old = {
        "exact": matcher.exact_match,
        "prefix": matcher.prefix_match,
        "suffix": matcher.suffix_match,
        "contains": matcher.contains_match,
        "safe_regex": matcher.safe_regex_match,
    }
    given = {key: value for key, value in old.items() if value is not None}
    return StringMatcher(**given) if given else matcher.string_match  # type: ignore[arg-type]


def _header(matcher: HeaderMatcher) -> Condition:
    name, invert = matcher.name.lower().encode(), matcher.invert_match
    if name == b"host":
        name = b":authority"
    missing = [b""] if matcher.treat_missing_header_as_empty else []
    pattern = _as_string_matcher(matcher)
    words, test = _header_test(matcher, pattern)

    def matches(request: Request) -> bool:
        values = request.header(name) or missing
        if not values:
            # A missing header never matches a pattern; inverted, only "present" turns around.
            return (pattern is None and matcher.range_match is None) and _absent_matches(matcher)
        return any(map(test, values)) is not invert

    called = matcher.name[1:] if matcher.name.startswith(":") else f"header {matcher.name}"
    return Condition(f"{called} {'not: ' if invert else ''}{words}", matches)


def _absent_matches(matcher: HeaderMatcher) -> bool:
    wants_present = matcher.present_match is not False
    return wants_present is matcher.invert_match


def _header_test(matcher: HeaderMatcher, pattern: StringMatcher | None) -> tuple[str, Test]:
    if matcher.range_match is not None:
        return _range_test(matcher.range_match)
    if pattern is not None:
        return string_test(pattern)
    present = matcher.present_match is not False
    return ("is present" if present else "is absent"), lambda _: present


def _range_test(wanted: Int64Range) -> tuple[str, Test]:
    def test(value: bytes) -> bool:
        return _INTEGER.match(value) is not None and wanted.start <= int(value) < wanted.end

    return f"is in [{wanted.start}, {wanted.end})", test


def _query(matcher: QueryParameterMatcher) -> Condition:
    name = matcher.name.encode()
    if matcher.string_match is None:
        present = matcher.present_match is not False
        words = f"query parameter {matcher.name} is {'present' if present else 'absent'}"
        return Condition(words, lambda r: (_parameter(r, name) is not None) is present)
    words, test = string_test(matcher.string_match)

    def matches(request: Request) -> bool:
        value = _parameter(request, name)
        return value is not None and test(value)

    return Condition(f"query parameter {matcher.name} {words}", matches)


def _parameter(request: Request, name: bytes) -> bytes | None:
    """The first value of a query parameter, as sent: Envoy compares without percent-decoding."""
    for key, value in query_pairs(request):
        if key == name:
            return value
    return None


def query_pairs(request: Request) -> Iterator[tuple[bytes, bytes]]:
    """The query's parameters as sent."""
    query = request.path.partition(b"?")[2].partition(b"#")[0]
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        yield key, value
