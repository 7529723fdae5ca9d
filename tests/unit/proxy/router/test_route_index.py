"""The index of a virtual host's routes: the same first match as trying one after the other, with less to try."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.decode import ROUTE, decode
from proxy.router import matcher
from proxy.router.conditions import Condition
from proxy.router.matcher import RouteTable
from tests.unit.proxy import budget_meters

Json = dict[str, Any]

_PATHS = st.sampled_from(
    ["/", "/a", "/A", "/a/", "/a/b", "/a/bc", "/ab", "/b", "/b/c?x=1", "/a?x=1&y=2", "/a?x=2&x=1", ""]
)
_PATTERNS = st.sampled_from(["/a.*", "/a|/b", "(?i)/A", ".*", "/[ab]", "/a/(b|bc)", "/ab?", "^/a$", "/b{0}a"])
_NAMES = st.sampled_from(["x", "y", ":method", "host", ":authority"])
_VALUES = st.sampled_from(["1", "2", "GET", "h.test", ""])
_STRINGS = st.one_of(
    st.builds(lambda v, fold: {"exact": v, "ignore_case": fold}, _VALUES, st.booleans()),
    st.just({"prefix": "G"}),
    st.just({"safe_regex": {"regex": "[12]"}}),
)
_HEADERS = st.one_of(
    st.builds(
        lambda name, value, invert, empty: {
            "name": name,
            "string_match": value,
            "invert_match": invert,
            "treat_missing_header_as_empty": empty,
        },
        _NAMES,
        _STRINGS,
        st.booleans(),
        st.booleans(),
    ),
    st.builds(lambda name, present: {"name": name, "present_match": present}, _NAMES, st.booleans()),
    st.builds(lambda name, value: {"name": name, "exact_match": value}, _NAMES, _VALUES),
)
_QUERIES = st.one_of(
    st.builds(
        lambda name, value: {"name": name, "string_match": value}, st.sampled_from(["x", "y"]), _STRINGS
    ),
    st.just({"name": "x", "present_match": True}),
)
_PLACES = st.one_of(
    st.builds(lambda path: {"prefix": path.partition("?")[0]}, _PATHS),
    st.builds(lambda path: {"path": path.partition("?")[0]}, _PATHS),
    st.builds(lambda regex: {"safe_regex": {"regex": regex}}, _PATTERNS),
    st.just({"path_separated_prefix": "/a"}),
)
_MATCHES = st.builds(
    lambda place, sensitive, headers, queries: {
        **place,
        "case_sensitive": sensitive,
        "headers": headers,
        "query_parameters": queries,
    },
    _PLACES,
    st.booleans(),
    st.lists(_HEADERS, max_size=2),
    st.lists(_QUERIES, max_size=1),
)
_REQUESTS = st.tuples(
    _PATHS, st.lists(st.tuples(st.sampled_from([b"x", b"y"]), st.sampled_from([b"1", b"2", b""])), max_size=3)
)  # fmt: skip


def table(matches: list[Json]) -> RouteTable[int]:
    routes = [
        {"match": match, "name": str(n), "direct_response": {"status": 200}}
        for n, match in enumerate(matches)
    ]
    config = {"name": "80", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]}
    return RouteTable(decode(ROUTE, "80", json.dumps(config).encode()), lambda _, route: int(route.name))


def request(path: str, *headers: tuple[bytes, bytes]) -> Json:
    return {
        "headers": list(headers),
        "authority": b"h.test",
        "path": path.encode(),
        "method": b"GET",
        "scheme": b"http",
        "draw": 0.5,
    }


@pytest.fixture(autouse=True)
def _index_even_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matcher, "_WORTH_AN_INDEX", 0)


@given(matches=st.lists(_MATCHES, min_size=1, max_size=12), asked=st.lists(_REQUESTS, min_size=1, max_size=5))
def test_the_first_match_is_that_of_the_linear_scan(
    matches: list[Json], asked: list[tuple[str, list[tuple[bytes, bytes]]]]
) -> None:
    routes = table(matches)
    for path, headers in asked:
        found = request(path, *headers)
        assert routes.route(**found) == routes.explain(**found).route  # which tries every route in turn


def evaluated(
    routes: RouteTable[int], monkeypatch: pytest.MonkeyPatch, asked: Json
) -> tuple[int | None, int]:
    """The route of a request, and how many conditions were looked at for it."""
    looked = 0

    class Counted(Condition):
        @property
        def matches(self) -> Any:  # type: ignore[override]
            nonlocal looked
            looked += 1
            return original.__get__(self)

    original = Condition.__dict__["matches"]
    host = routes._any
    assert host is not None
    for number, (needed, value) in enumerate(host.routes):
        counted = []
        for condition in needed:
            copy = object.__new__(Counted)
            object.__setattr__(copy, "wanted", condition.wanted)
            original.__set__(copy, condition.matches)
            counted.append(copy)
        host.routes[number] = (tuple(counted), value)
    return routes.route(**asked), looked


KINDS: dict[str, Any] = {
    "exact paths": lambda n: {"path": f"/p{n}"},
    "exact paths in any case": lambda n: {"path": f"/P{n}", "case_sensitive": False},
    "prefixes": lambda n: {"prefix": f"/p{n}/"},
    "prefixes in any case": lambda n: {"prefix": f"/P{n}/", "case_sensitive": False},
    "separated prefixes": lambda n: {"path_separated_prefix": f"/p{n}"},
    "expressions": lambda n: {"safe_regex": {"regex": f"/p{n}/[0-9]+"}},
    "headers": lambda n: {"prefix": "/", "headers": [{"name": "tenant", "string_match": {"exact": f"t{n}"}}]},
    "headers of other names": lambda n: {
        "prefix": "/",
        "headers": [{"name": f"h{n}", "string_match": {"exact": "1"}}],
    },
    "one path, many headers": lambda n: {
        "prefix": "/api",
        "headers": [{"name": "t", "string_match": {"exact": f"{n}"}}],
    },
    "many paths, one header": lambda n: {
        "prefix": f"/p{n}",
        "headers": [{"name": ":method", "string_match": {"exact": "GET"}}],
    },
    "query parameters": lambda n: {
        "prefix": "/",
        "query_parameters": [{"name": "q", "string_match": {"exact": f"{n}"}}],
    },
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [10, 1000])
def test_routes_that_cannot_match_are_not_looked_at(
    kind: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = table([*(KINDS[kind](n) for n in range(count)), {"prefix": "/"}])
    number, looked = evaluated(routes, monkeypatch, request("/other?q=none", (b"tenant", b"none")))
    assert (number, looked) == (count, 0)


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/?" + "q=1&" * 5000, []), ("/?q=1", [(b"h", b"1")] * 50)],
    ids=["query", "headers"],
)
def test_what_a_client_repeats_is_looked_at_once(
    path: str, headers: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a long query would keep the proxy busy for its length times the time one condition takes."""
    absent = {"name": "absent", "present_match": True}
    by_query = {"prefix": "/", "query_parameters": [{"name": "q", "string_match": {"exact": "1"}}]}
    by_header = {"prefix": "/", "headers": [{"name": "h", "string_match": {"exact": "1"}}, absent]}
    routes = table([{**by_query, "headers": [absent]}, by_header])
    number, looked = evaluated(routes, monkeypatch, request(path, *headers))
    assert number is None
    assert looked <= 5


def test_of_nested_prefixes_only_those_of_the_path_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes = ["/a/b/c/", "/a/b/d/", "/a/b/", "/a/z/", "/a/", "/b/"]
    routes = table([{"prefix": prefix, "headers": [{"name": "x"}]} for prefix in prefixes])
    number, looked = evaluated(routes, monkeypatch, request("/a/b/x"))
    assert (number, looked) == (None, 4)  # path and header of /a/b/ and of /a/


def _virtual_hosts(count: int) -> RouteTable[int]:
    route = {"match": {"prefix": "/"}, "name": "1", "direct_response": {"status": 200}}
    hosts = [
        {"name": f"{n}", "domains": [f"s{n}.test", f"*.w{n}.test"], "routes": [route]} for n in range(count)
    ]
    config = {"name": "80", "virtual_hosts": hosts}
    return RouteTable(decode(ROUTE, "80", json.dumps(config).encode()), lambda _, route: int(route.name))


def test_a_virtual_host_is_found_by_as_many_calls_among_ten_thousand_as_among_ten() -> None:
    found = []
    for count in (10, 10_000):
        routes = _virtual_hosts(count)
        for authority, number in ((b"s7.test", 1), (b"x.w7.test", 1), (b"nobody.test", None)):
            asked = {**request("/"), "authority": authority}
            assert routes.route(**asked) == number
            found.append(budget_meters.calls(lambda routes=routes, asked=asked: routes.route(**asked)))
    assert found[:3] == found[3:]
    assert max(one.total() for one in found) <= 5
