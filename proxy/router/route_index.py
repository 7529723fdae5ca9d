"""Which routes of a virtual host a request could match at all, found without looking at the others.

Each route is filed once, under what tells it from the others best: its exact path, its path prefix (of an expression: the text
every match begins with), an exact header or an exact query parameter; what has none of these is always a candidate.
It decides nothing: the matcher tests the candidates in the table's order. Invariant: every route that matches is a
candidate, so that the first match of the candidates is the first match of the table.
Reference: envoy.config.route.v3.RouteMatch, of which Envoy tries one after the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from typing import Any

from proxy.config.header_matcher import HeaderMatcher
from proxy.config.regex import literal_prefix
from proxy.config.route import RouteMatch
from proxy.router.conditions import Request, query_pairs

Numbers = list[int]
# Kind of file, name within it, key: ("path", folded?, b"/a"), ("header", b"x-a", b"1") …
_Key = tuple[str, Any, bytes]
_ANY_PATH = (b"", b"/")


class RouteIndex:
    """Files the routes of one virtual host, by number."""

    __slots__ = (
        "_always",
        "_folded_paths",
        "_folded_prefixes",
        "_headers",
        "_paths",
        "_prefixes",
        "_queries",
    )

    def __init__(self, matches: Sequence[RouteMatch]) -> None:
        keys = [list(_keys(match)) for match in matches]
        shared = Counter(key for found in keys for key in found)
        self._always: Numbers = []
        self._headers: dict[bytes, dict[bytes, Numbers]] = {}
        self._queries: dict[bytes, dict[bytes, Numbers]] = {}
        self._paths: dict[bytes, Numbers] = {}
        self._folded_paths: dict[bytes, Numbers] = {}
        prefixes: dict[bytes, Numbers] = {}
        folded_prefixes: dict[bytes, Numbers] = {}
        files = {
            ("path", False): self._paths,
            ("path", True): self._folded_paths,
            ("prefix", False): prefixes,
            ("prefix", True): folded_prefixes,
        }
        for number, found in enumerate(keys):
            if not found:
                self._always.append(number)
                continue
            kind, within, key = min(found, key=lambda each: shared[each])
            if kind == "header":
                file = self._headers.setdefault(within, {})
            elif kind == "query":
                file = self._queries.setdefault(within, {})
            else:
                file = files[kind, within]
            file.setdefault(key, []).append(number)
        self._prefixes = _Prefixes(prefixes)
        self._folded_prefixes = _Prefixes(folded_prefixes)

    def candidates(self, request: Request) -> Iterable[int]:
        """Numbers of the routes that may match, ascending; one may come twice. Found as far as they are asked for."""
        path = request.bare_path
        parts = [self._always] if self._always else []
        if (found := self._paths.get(path)) is not None:
            parts.append(found)
        self._prefixes.collect(path, parts)
        if self._folded_paths or self._folded_prefixes:
            folded = path.lower()
            if (found := self._folded_paths.get(folded)) is not None:
                parts.append(found)
            self._folded_prefixes.collect(folded, parts)
        if self._headers:
            _collect(self._headers, request.headers, parts)
            _collect(self._headers, request.pseudo_headers(), parts)
        if self._queries:
            # The first value counts, and a query may repeat a parameter as often as it likes.
            first = {
                name: value for name, value in reversed(list(query_pairs(request))) if name in self._queries
            }
            _collect(self._queries, first.items(), parts)
        if len(parts) <= 1:
            return parts[0] if parts else ()
        return merge(*parts)


def _collect(
    files: dict[bytes, dict[bytes, Numbers]], pairs: Iterable[tuple[bytes, bytes]], parts: list[Numbers]
) -> None:
    for name, value in pairs:
        file = files.get(name)
        if file is None or (found := file.get(value)) is None:
            continue
        if not any(found is part for part in parts):  # a client may repeat what it says
            parts.append(found)


class _Prefixes:
    """Prefixes in order; each knows the longest other one it begins with.

    The greatest that is not above a path begins with every prefix of the path there is, so these are found by following it.
    """

    __slots__ = ("_keys", "_numbers", "_shorter")

    def __init__(self, files: dict[bytes, Numbers]) -> None:
        self._keys = sorted(files)
        self._numbers = [files[key] for key in self._keys]
        self._shorter: list[int] = []
        for at, key in enumerate(self._keys):
            shorter = at - 1
            while shorter >= 0 and not key.startswith(self._keys[shorter]):
                shorter = self._shorter[shorter]
            self._shorter.append(shorter)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def collect(self, path: bytes, parts: list[Numbers]) -> None:
        keys, shorter = self._keys, self._shorter
        at = bisect_right(keys, path) - 1
        while at >= 0 and not path.startswith(keys[at]):
            at = shorter[at]
        while at >= 0:
            parts.append(self._numbers[at])
            at = shorter[at]


def _keys(match: RouteMatch) -> Iterator[_Key]:
    """All keys a route may be filed under: whoever matches it has every one of them. The most telling kind first."""
    folded = not match.case_sensitive
    if match.path is not None:
        yield "path", folded, _folded(match.path, folded)
    elif match.safe_regex is not None:
        prefix = literal_prefix(match.safe_regex.regex)
        if prefix not in _ANY_PATH:
            yield "prefix", False, prefix
    else:
        text = match.prefix if match.prefix is not None else match.path_separated_prefix
        prefix = _folded(text or "", folded)
        if prefix not in _ANY_PATH:
            yield "prefix", folded, prefix
    for header in match.headers:
        value = _exact(header)
        if value is not None:
            name = header.name.lower().encode()
            yield "header", b":authority" if name == b"host" else name, value
    for parameter in match.query_parameters:
        wanted = parameter.string_match
        if wanted is not None and wanted.exact is not None and not wanted.ignore_case:
            yield "query", parameter.name.encode(), wanted.exact.encode()


def _folded(text: str, fold: bool) -> bytes:
    return (text.lower() if fold else text).encode()


def _exact(header: HeaderMatcher) -> bytes | None:
    """The one value a header must have, if there is one."""
    if header.invert_match or header.treat_missing_header_as_empty:
        return None
    wanted = header.string_match
    if header.exact_match is not None:
        return header.exact_match.encode()
    if wanted is None or wanted.exact is None or wanted.ignore_case:
        return None
    return wanted.exact.encode()
