"""Where a request goes and what is changed on the way: hosts, matches, splits, rewrites, redirects, direct answers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bench import xds_shapes as x
from tests.differential.scenario import (
    CLIENT,
    PAIR,
    REGISTRY_ONLY,
    Json,
    Names,
    Scenario,
    answer,
    exchange,
    get,
    serving,
)
from tests.differential.wire import Response, Send

HERE = (CLIENT, PAIR)
ONE = (CLIENT,)


def to(cluster: str, match: Json, name: str = "", **fields: Any) -> Json:
    """A route with a match of its own; `fields` are the route's, `action` goes into its action."""
    action = fields.pop("action", {})
    found = {**x.route(name, cluster, x.DEFAULT_RETRY, **action), "match": match, **fields}
    if not name:
        del found["name"]
    return found


def only(match: Json, **fields: Any) -> Any:
    """Routes with one match and nothing else."""
    return lambda names: [to(names.cluster, match, "only", **fields)]


def header(name: str, **matcher: Any) -> Json:
    return {"prefix": "/", "headers": [{"name": name, **matcher}]}


def query(name: str, **matcher: Any) -> Json:
    return {"prefix": "/", "query_parameters": [{"name": name, **matcher}]}


_HOSTS = [
    exchange("host-unknown-404", b"GET / HTTP/1.1\r\nhost: nowhere.test\r\n\r\n", at=("client", "server")),
    exchange(
        "host-unknown-502", b"GET / HTTP/1.1\r\nhost: nowhere.test\r\n\r\n", listener=REGISTRY_ONLY, at=ONE
    ),
    Scenario(
        "host-unknown-502-post",
        (Send(b"POST / HTTP/1.1\r\nhost: nowhere.test\r\ncontent-length: 3\r\n\r\nabc"), Response()),
        listener=REGISTRY_ONLY,
        at=ONE,
    ),
    exchange("no-route", get("/other"), routes=only({"prefix": "/some"}), at=HERE),
    exchange("cluster-unknown", get(), action={"cluster": "outbound|80|none|nowhere"}, at=ONE),
    exchange("no-endpoints", get(), endpoints=(), at=ONE),
]

_MATCHES: list[tuple[str, bytes, Any]] = [
    ("match-prefix", get("/api/x"), only({"prefix": "/api"})),
    ("match-prefix-inside-segment", get("/apix"), only({"prefix": "/api"})),
    ("match-path", get("/exact?q=1"), only({"path": "/exact"})),
    ("match-path-not", get("/exact/"), only({"path": "/exact"})),
    ("match-separated-prefix", get("/api"), only({"path_separated_prefix": "/api"})),
    ("match-separated-prefix-not", get("/apix"), only({"path_separated_prefix": "/api"})),
    ("match-regex", get("/v12/a"), only({"safe_regex": {"regex": "/v[0-9]+/.*"}})),
    ("match-regex-whole", get("/x/v12/a"), only({"safe_regex": {"regex": "/v[0-9]+/.*"}})),
    ("match-case-insensitive", get("/API"), only({"prefix": "/api", "case_sensitive": False})),
    ("match-case-sensitive", get("/API"), only({"prefix": "/api"})),
    ("match-header-exact", get("/", "x-u: jason"), only(header("x-u", string_match={"exact": "jason"}))),
    ("match-header-exact-not", get("/", "x-u: json"), only(header("x-u", string_match={"exact": "jason"}))),
    ("match-header-prefix", get("/", "x-u: jason"), only(header("x-u", string_match={"prefix": "ja"}))),
    (
        "match-header-regex",
        get("/", "x-u: jason"),
        only(header("x-u", string_match={"safe_regex": {"regex": "j.*n"}})),
    ),
    ("match-header-present", get("/", "x-u: any"), only(header("x-u", present_match=True))),
    ("match-header-absent", get(), only(header("x-u", present_match=True, invert_match=True))),
    (
        "match-header-invert",
        get("/", "x-u: b"),
        only(header("x-u", string_match={"exact": "a"}, invert_match=True)),
    ),
    (
        "match-header-repeated",
        get("/", "x-u: a", "x-u: b"),
        only(header("x-u", string_match={"exact": "a,b"})),
    ),
    (
        "match-header-ignore-case",
        get("/", "x-u: JASON"),
        only(header("x-u", string_match={"exact": "jason", "ignore_case": True})),
    ),
    ("match-method", get(method="PUT"), only(header(":method", string_match={"exact": "PUT"}))),
    ("match-method-not", get(method="GET"), only(header(":method", string_match={"exact": "PUT"}))),
    ("match-authority", get(), only(header(":authority", string_match={"suffix": ".test"}))),
    ("match-scheme", get(), only(header(":scheme", string_match={"exact": "http"}))),
    ("match-query", get("/?a=1&b=2"), only(query("b", string_match={"exact": "2"}))),
    ("match-query-not", get("/?a=1&b=3"), only(query("b", string_match={"exact": "2"}))),
    ("match-query-present", get("/?a"), only(query("a", present_match=True))),
]


def _first_wins(names: Names) -> list[Json]:
    return [to(names.cluster, {"prefix": "/a"}, "first"), to(names.cluster, {"prefix": "/"}, "second")]


_REWRITES: list[tuple[str, bytes, Json]] = [
    ("rewrite-prefix", get("/old/x?q=1"), {"prefix_rewrite": "/new"}),
    ("rewrite-prefix-host", get("/old/x"), {"prefix_rewrite": "/", "host_rewrite_literal": "other.test"}),
    ("rewrite-host", get("/old"), {"host_rewrite_literal": "other.test"}),
    (
        "rewrite-regex",
        get("/old/12/x?q=1"),
        {"regex_rewrite": {"pattern": {"regex": "/old/([0-9]+)/(.*)"}, "substitution": r"/new/\2/\1"}},
    ),
    (
        "rewrite-regex-no-match",
        get("/old/ab"),
        {"regex_rewrite": {"pattern": {"regex": "/never"}, "substitution": "/x"}},
    ),
]

_REDIRECTS: list[tuple[str, bytes, Json]] = [
    ("redirect-path", get("/old/x?q=1"), {"path_redirect": "/new"}),
    ("redirect-host", get("/old/x?q=1"), {"host_redirect": "other.test"}),
    (
        "redirect-both-302",
        get("/old"),
        {"host_redirect": "other.test", "path_redirect": "/n", "response_code": "FOUND"},
    ),
    ("redirect-scheme", get("/old"), {"scheme_redirect": "https"}),
    ("redirect-https", get("/old"), {"https_redirect": True, "response_code": "PERMANENT_REDIRECT"}),
    ("redirect-port", get("/old"), {"port_redirect": 8443, "response_code": "TEMPORARY_REDIRECT"}),
    ("redirect-prefix", get("/old/x"), {"prefix_rewrite": "/new", "response_code": "SEE_OTHER"}),
    ("redirect-strip-query", get("/old?q=1"), {"path_redirect": "/n", "strip_query": True}),
]

_DIRECT = [
    exchange(
        "direct-body",
        get(),
        routes=lambda names: [
            {
                "name": "d",
                "match": {"prefix": "/"},
                "direct_response": {"status": 418, "body": {"inline_string": "teapot"}},
            }
        ],
        at=ONE,
    ),
    exchange(
        "direct-empty",
        get(),
        routes=lambda names: [{"match": {"prefix": "/"}, "direct_response": {"status": 503}}],
        at=ONE,
    ),
    exchange(
        "direct-200-post",
        get("/", "content-length: 3", method="POST", body=b"abc"),
        routes=lambda names: [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "yes"}}}
        ],
        at=ONE,
    ),
    exchange(
        "direct-head",
        get(method="HEAD"),
        routes=lambda names: [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "yes"}}}
        ],
        at=ONE,
        method="HEAD",
    ),
    exchange(
        "direct-headers",
        get(),
        routes=lambda names: [
            {
                "match": {"prefix": "/"},
                "direct_response": {"status": 200, "body": {"inline_string": "{}"}},
                "response_headers_to_add": [
                    {
                        "header": {"key": "content-type", "value": "application/json"},
                        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                    }
                ],
            }
        ],
        at=ONE,
    ),
]


def add(key: str, value: str, action: str = "APPEND_IF_EXISTS_OR_ADD") -> Json:
    return {"header": {"key": key, "value": value}, "append_action": action}


_OPERATORS = [
    {**add(f"x-{number}", f"[%{text}%]"), "keep_empty_value": True}
    for number, text in enumerate(
        """
        PATH PATH(WQ) PATH(NQ) PATH(WQ:ORIG) PATH(NQ:ORIG) PATH(WQ:PATH) PATH(NQ:ORIG_OR_PATH) REQ(:PATH) QUERY_PARAMS QUERY_PARAM(a)
        QUERY_PARAM(a):4 QUERY_PARAM(A) QUERY_PARAM(c) QUERY_PARAM(e) QUERY_PARAM(f) STREAM_ID ENVIRONMENT(NO_SUCH)
        START_TIME_LOCAL(%Y) EMIT_TIME(%Y) DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_PROTOCOL TRACE_ID SPAN_ID
        CUSTOM_FLAGS DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID ROUNDTRIP_DURATION TLS_JA3_FINGERPRINT TLS_JA4_FINGERPRINT
        UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID VIRTUAL_CLUSTER_NAME
        """.split()  # noqa: SIM905  # a table
    )
]
_MANIPULATION = [
    exchange(
        "headers-add",
        get("/", "x-there: 1"),
        route={"request_headers_to_add": [add("x-new", "n"), add("x-there", "2")]},
        at=HERE,
    ),
    exchange(
        "headers-set",
        get("/", "x-there: 1"),
        route={"request_headers_to_add": [add("x-there", "2", "OVERWRITE_IF_EXISTS_OR_ADD")]},
        at=HERE,
    ),
    exchange(
        "headers-if-absent",
        get("/", "x-there: 1"),
        route={
            "request_headers_to_add": [
                add("x-there", "2", "ADD_IF_ABSENT"),
                add("x-new", "2", "ADD_IF_ABSENT"),
            ]
        },
        at=HERE,
    ),
    exchange(
        "headers-remove",
        get("/", "x-secret: 1", "x-other: 1"),
        route={"request_headers_to_remove": ["x-secret", "x-none"]},
        at=HERE,
    ),
    exchange(
        "headers-answer",
        get(),
        serving(answer(b"ok", "x-secret: 1", "x-there: 1")),
        route={
            "response_headers_to_add": [add("x-new", "n"), add("x-there", "2", "OVERWRITE_IF_EXISTS_OR_ADD")],
            "response_headers_to_remove": ["x-secret"],
        },
        at=HERE,
    ),
    exchange(
        "headers-virtual-host",
        get(),
        virtual_host={
            "request_headers_to_add": [add("x-vh", "vh")],
            "response_headers_to_add": [add("x-vh-answer", "vh")],
        },
        route={"request_headers_to_add": [add("x-vh", "route")]},
        at=HERE,
    ),
    exchange(
        "headers-variables",
        get("/", "x-in: hello"),
        route={
            "request_headers_to_add": [
                add("x-copy", "%REQ(x-in)%"),
                add("x-proto", "%PROTOCOL%"),
                add("x-percent", "100%%"),
                add("x-none", "%REQ(x-absent)%"),
            ]
        },
        at=HERE,
    ),
    *(
        exchange(
            f"headers-operators-{name}",
            get(path, "x-request-id: the-id"),
            route={"request_headers_to_add": _OPERATORS, "response_headers_to_add": _OPERATORS},
            action=action,
            at=HERE,
        )
        for name, path, action in (
            ("plain", "/plain", {}),
            ("question-mark", "/plain?", {}),
            ("query", "/p%20x?a=he%20llo+w&b=2&a=second&e=&f&c=%C3%A4", {}),
            ("rewritten", "/a/b?a=1", {"prefix_rewrite": "/new"}),
        )
    ),
    exchange(
        "headers-on-local-reply",
        get(),
        endpoints=(),
        route={"response_headers_to_add": [add("x-local", "yes")]},
        at=ONE,
    ),
]


def _split(weights: dict[str, int]) -> Any:
    def routes(names: Names) -> list[Json]:
        clusters = [{"name": names.subset(name), "weight": weight} for name, weight in weights.items()]
        found = x.route("split", "", x.DEFAULT_RETRY, weighted_clusters={"clusters": clusters})
        del found["route"]["cluster"]
        return [found]

    return routes


def _share(expected: dict[str, int], tolerance: int) -> Any:
    """Reduces many answers to whether each app got its share, in percent."""

    def distil(observation: Json) -> Json:
        counts = Counter(
            one.get("body", one) if isinstance(one.get("body", ""), str) else "?"
            for one in observation["client"]
        )
        total = len(observation["client"])
        return {
            "statuses": sorted({one.get("line", str(one)) for one in observation["client"]}),
            "shares": {
                name: abs(counts[name] * 100 / total - share) <= tolerance for name, share in expected.items()
            },
        }

    return distil


def _many(count: int) -> tuple[Any, ...]:
    return tuple(step for _ in range(count) for step in (Send(get()), Response()))


_SPLITS = [
    Scenario(
        "split-80-20",
        _many(300),
        apps={"v1": serving(answer(b"v1")), "v2": serving(answer(b"v2"))},
        endpoints=(),
        subsets={"v1": ("v1",), "v2": ("v2",)},
        routes=_split({"v1": 80, "v2": 20}),
        distil=_share({"v1": 80, "v2": 20}, 10),
        at=ONE,
    ),
    Scenario(
        "split-100-0",
        _many(30),
        apps={"v1": serving(answer(b"v1")), "v2": serving(answer(b"v2"))},
        endpoints=(),
        subsets={"v1": ("v1",), "v2": ("v2",)},
        routes=_split({"v1": 100, "v2": 0}),
        distil=_share({"v1": 100, "v2": 0}, 0),
        at=ONE,
    ),
    Scenario(
        "balance-two-hosts",
        _many(200),
        apps={"a": serving(answer(b"a")), "b": serving(answer(b"b"))},
        endpoints=("a", "b"),
        distil=_share({"a": 50, "b": 50}, 20),
        at=ONE,
    ),
]

SCENARIOS: list[Scenario] = [
    *_HOSTS,
    *(exchange(name, data, routes=routes, at=ONE) for name, data, routes in _MATCHES),
    exchange("match-first-wins", get("/a/b"), routes=_first_wins, at=ONE),
    exchange("match-falls-through", get("/b"), routes=_first_wins, at=ONE),
    *(
        exchange(name, data, routes=only({"prefix": "/old"}, action=action), at=HERE)
        for name, data, action in _REWRITES
    ),
    *(
        exchange(
            name,
            data,
            routes=lambda names, r=redirect: [{"name": "r", "match": {"prefix": "/old"}, "redirect": r}],
            at=ONE,
        )
        for name, data, redirect in _REDIRECTS
    ),
    *_DIRECT,
    *_MANIPULATION,
    *_SPLITS,
]
