"""Which route a request takes. Statuses in the tables are what Envoy 1.40 answered to the same request and table."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.decode import ROUTE, decode
from proxy.router.matcher import RouteTable, RouteTableError, without_port

Json = dict[str, Any]


def route(status: int, match: Json) -> Json:
    return {
        "match": {"prefix": "/", **match} if not _has_path(match) else match,
        "direct_response": {"status": status},
    }


def _has_path(match: Json) -> bool:
    return bool({"prefix", "path", "safe_regex", "path_separated_prefix"} & match.keys())


def host(domains: list[str], *routes: Json) -> Json:
    return {"name": domains[0], "domains": domains, "routes": list(routes)}


def table(*hosts: Json, **more: Any) -> RouteTable[int]:
    config = {"name": "80", "virtual_hosts": list(hosts), **more}
    decoded = decode(ROUTE, "80", json.dumps(config).encode())
    return RouteTable(decoded, lambda _, route: int(route.direct_response.status), to_https=301)


@pytest.mark.parametrize("require", ["ALL", "EXTERNAL_ONLY"])
def test_require_tls_sends_plaintext_to_https(require: str) -> None:
    routes = table({**host(["secure"], route(200, {})), "require_tls": require})
    request = {"authority": b"secure", "path": b"/x", "method": b"GET", "draw": 0.0}
    assert routes.route([], scheme=b"http", **request) == 301  # type: ignore[arg-type]
    assert routes.route([], scheme=b"https", **request) == 200  # type: ignore[arg-type]
    why = routes.explain([], scheme=b"http", **request)  # type: ignore[arg-type]
    assert why.refusals == ("require_tls: redirected to https",)


def ask(
    routes: RouteTable[int], authority: str, path: str = "/", *headers: str, draw: float = 0.0
) -> int | None:
    fields = [tuple(h.encode().split(b": ", 1)) for h in headers]
    request = {
        "authority": authority.encode(),
        "path": path.encode(),
        "method": b"GET",
        "scheme": b"http",
        "draw": draw,
    }
    found = routes.route(fields, **request)  # type: ignore[arg-type]
    why = routes.explain(fields, **request)  # type: ignore[arg-type]
    # The explanation is of the same decision.
    assert (why.route is None) is (found is None)
    assert len(why.refusals) == (why.route or 0) if found is not None else True
    return found


HOSTS = table(
    host(["foo"], route(201, {})),
    host(["bar:80"], route(202, {})),
    host(["*.w.com", "*-x.w.com"], route(230, {})),
    host(["*.com"], route(231, {})),
    host(["w.*"], route(232, {})),
    host(["[::1]"], route(233, {})),
    ignore_port_in_host_matching=True,
)


@pytest.mark.parametrize(
    ("authority", "status"),
    [
        ("foo", 201), ("FOO:80", 201), ("foo:", 201), ("foo:ab", 201), ("bar:80", None), ("bar", None),
        ("x.w.com", 230), ("y-x.w.com", 230), (".w.com", 231), ("w.com", 231), ("w.org", 232), ("w.", None),
        ("[::1]:80", 233), ("[::1]", 233), ("unknown", None), ("", None),
    ],
)  # fmt: skip
def test_virtual_host(authority: str, status: int | None) -> None:
    assert ask(HOSTS, authority) == status


def test_a_port_counts_where_it_is_not_ignored() -> None:
    routes = table(host(["bar:80"], route(202, {})), host(["*"], route(203, {})))
    assert [ask(routes, name) for name in ("bar:80", "bar", "bar:81", "")] == [202, 203, 203, 203]


def test_domains_are_unique_in_any_case() -> None:
    with pytest.raises(
        RouteTableError, match=r"^Only unique values for domains are permitted\. Duplicate entry of domain a"
    ):
        table(host(["a"]), host(["A"]))


def exact(value: str) -> Json:
    return {"string_match": {"exact": value}}


PARAMETERS = table(
    host(
        ["*"],
        route(203, {"query_parameters": [{"name": "a", **exact("b c")}]}),
        route(204, {"query_parameters": [{"name": "a", **exact("b%20c")}]}),
        route(205, {"query_parameters": [{"name": "a", **exact("")}]}),
        route(206, {"query_parameters": [{"name": "k ", "present_match": True}]}),
        route(207, {"query_parameters": [{"name": "a", **exact("2")}]}),
        route(208, {"query_parameters": [{"name": "a", "present_match": False}, {"name": "n", "present_match": True}]}),
        route(299, {}),
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/?a=b%20c", 204), ("/?a=b+c", 299), ("/?a", 205), ("/?a=", 205), ("/?k%20=1", 299), ("/?a=1&a=2", 299),
        ("/?a=2&a=1", 207), ("/?n=1", 208), ("/?a=3&n", 299), ("/?A=2", 299), ("/", 299),
    ],
)  # fmt: skip
def test_query_parameters(path: str, status: int) -> None:
    assert ask(PARAMETERS, "h", path) == status


def header(path: str, **matcher: Any) -> Json:
    return route(200, {"path": path, "headers": [{"name": "X", **matcher}]})


HEADERS = table(
    host(
        ["*"],
        header("/exact", **exact("a")),
        header("/not", **exact("a"), invert_match=True),
        header("/list", **exact("a,b")),
        header("/regex", string_match={"safe_regex": {"regex": "a,b"}}),
        header("/prefix", string_match={"prefix": "a"}),
        header("/suffix", string_match={"suffix": "A", "ignore_case": True}),
        header("/range", range_match={"start": 1, "end": 10}),
        header("/not-range", range_match={"start": 1, "end": 10}, invert_match=True),
        header("/present", present_match=True),
        header("/absent", present_match=True, invert_match=True),
        header("/absent-too", present_match=False),
        header("/empty", present_match=True, treat_missing_header_as_empty=True),
        header("/not-empty", **exact("a"), invert_match=True, treat_missing_header_as_empty=True),
        route(200, {"path": "/host", "headers": [{"name": "host", **exact("h")}]}),
        route(200, {"path": "/authority", "headers": [{"name": ":authority", **exact("h")}]}),
        route(200, {"path": "/method", "headers": [{"name": ":method", **exact("POST")}]}),
    )
)


@pytest.mark.parametrize(
    ("path", "headers", "matches"),
    [
        # Each value of a repeated header is matched by itself.
        ("/exact", ["x: a", "x: b"], True), ("/exact", ["x: b", "x: a"], True), ("/exact", ["x: b"], False),
        ("/exact", [], False), ("/not", ["x: a", "x: b"], False), ("/not", ["x: b", "x: c"], True), ("/not", [], False),
        ("/list", ["x: a", "x: b"], False), ("/list", ["x: a,b"], True), ("/regex", ["x: a", "x: b"], False),
        ("/regex", ["x: a,b"], True), ("/regex", ["x: a,bc"], False), ("/prefix", ["x: z", "x: ab"], True),
        ("/suffix", ["x: Ba"], True), ("/range", ["x: 50", "x: 5"], True), ("/range", ["x: +5"], True),
        ("/range", ["x: 10"], False), ("/range", ["x: 1_0"], False), ("/range", ["x: 5x"], False),
        ("/not-range", ["x: 50", "x: 5"], False), ("/not-range", ["x: 50"], True), ("/present", ["x: a", "x: b"], True),
        ("/present", [], False), ("/absent", [], True), ("/absent", ["x: "], False), ("/absent-too", [], True),
        ("/absent-too", ["x: a"], False), ("/empty", [], True), ("/not-empty", [], True), ("/host", [], True),
        ("/authority", [], True), ("/method", [], False),
    ],
)  # fmt: skip
def test_headers(path: str, headers: list[str], matches: bool) -> None:
    assert ask(HEADERS, "h", path, *headers) == (200 if matches else None)


PATHS = table(
    host(
        ["*"],
        route(220, {"path_separated_prefix": "/sep"}),
        route(221, {"path": "/Ex", "case_sensitive": False}),
        route(222, {"safe_regex": {"regex": "/re/(a|ab)"}}),
        route(223, {"prefix": "/API", "case_sensitive": False}),
        route(224, {"prefix": "/api"}),
    )
)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sep", 220), ("/sepx", None), ("/sep/x", 220), ("/sep?x", 220), ("/eX", 221), ("/eX?q", 221), ("/eXx", None),
        ("/re/ab", 222), ("/re/abc", None), ("/re/ab?x", 222), ("/apiary", 223), ("/x/api", None),
    ],
)  # fmt: skip
def test_paths(path: str, status: int | None) -> None:
    assert ask(PATHS, "h", path) == status


def test_a_share_of_requests() -> None:
    share = {"default_value": {"numerator": 25, "denominator": "HUNDRED"}}
    routes = table(host(["*"], route(201, {"runtime_fraction": share}), route(202, {})))
    assert [ask(routes, "h", draw=draw) for draw in (0.0, 0.249, 0.25, 0.99)] == [201, 201, 202, 202]


def test_the_explanation_names_the_condition_that_failed() -> None:
    why = HEADERS.explain([], authority=b"h", path=b"/not", method=b"GET", scheme=b"http", draw=0.0)
    assert why.refusals[:2] == ("path is /exact", "header X not: is a")


def test_conditions_are_told_as_they_are_said() -> None:
    method = {"name": ":method", "string_match": {"exact": "PUT"}}
    empty = {"name": "q", "string_match": {"exact": ""}}
    routes = table(
        host(
            ["*"],
            route(201, {"headers": [method]}),
            route(202, {"query_parameters": [empty]}),
            route(203, {}),
        )
    )
    why = routes.explain([], authority=b"h", path=b"/", method=b"GET", scheme=b"http", draw=0.0)
    assert why.refusals == ("method is PUT", "query parameter q is empty")


def test_a_bad_pattern_is_refused_with_its_place() -> None:
    with pytest.raises(RouteTableError, match=r'^virtual_hosts\["\*"\]\.routes\[0\]\.match\.safe_regex: '):
        table(host(["*"], route(200, {"safe_regex": {"regex": "(?=x)"}})))


@pytest.mark.parametrize(
    ("text", "bare"), [(b"a:1", b"a"), (b"[::1]:1", b"[::1]"), (b"[::1]", b"[::1]"), (b"a", b"a")]
)
def test_without_port(text: bytes, bare: bytes) -> None:
    assert without_port(text) == bare


def naive(domains: list[str], name: str) -> str | None:
    """Envoy's documented order, looked through one by one."""
    name = name.lower()
    by_length = sorted(domains, key=len, reverse=True)
    if name in domains:
        return name
    for wildcard in by_length:
        if (
            wildcard.startswith("*")
            and wildcard != "*"
            and name.endswith(wildcard[1:])
            and len(name) >= len(wildcard)
        ):
            return wildcard
    for wildcard in by_length:
        if (
            wildcard.endswith("*")
            and wildcard != "*"
            and name.startswith(wildcard[:-1])
            and len(name) >= len(wildcard)
        ):
            return wildcard
    return "*" if "*" in domains else None


LABELS = st.lists(st.sampled_from(["a", "b", "ab", "x-a"]), min_size=1, max_size=4).map(".".join)
DOMAINS = st.one_of(
    LABELS,
    LABELS.map(lambda s: "*." + s),
    LABELS.map(lambda s: "*" + s),
    LABELS.map(lambda s: s + ".*"),
    st.just("*"),
)


@given(st.lists(DOMAINS, min_size=1, max_size=12, unique=True), st.lists(LABELS, min_size=1, max_size=6))
def test_virtual_hosts_are_found_as_a_search_through_all_would(domains: list[str], names: list[str]) -> None:
    routes = table(*(host([domain], route(200 + i, {})) for i, domain in enumerate(domains)))
    for name in (*names, *(name.upper() for name in names)):
        wanted = naive(domains, name)
        assert ask(routes, name) == (None if wanted is None else 200 + domains.index(wanted))
