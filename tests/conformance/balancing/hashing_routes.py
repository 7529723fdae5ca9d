"""Routes with every kind of hash policy, and requests for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Exchange:
    """`hashed_before_the_cookie`: the key does not hang on the cookie made for this request."""

    path: str
    headers: tuple[str, ...] = ()
    hashed_before_the_cookie: bool = False

    @property
    def head(self) -> str:
        return "\r\n".join([f"GET {self.path} HTTP/1.1", "host: a.test", *self.headers])


def route(prefix: str, cluster: str, policies: list[Json], **more: Any) -> Json:
    extra = more.pop("extra", {})
    return {
        "match": {"prefix": prefix},
        "route": {"cluster": cluster, "hash_policy": policies, **more},
        **extra,
    }


def header(name: str, **more: Any) -> Json:
    return {"header": {"header_name": name}, **more}


def cookie(name: str, **fields: Any) -> Json:
    return {"cookie": {"name": name, **fields}}


QUERY: Json = {"query_parameter": {"name": "k"}}
SOURCE: Json = {"connection_properties": {"source_ip": True}}
MADE = cookie(
    "sess", ttl="60.5s", path="/p", attributes=[{"name": "SameSite", "value": "Lax"}, {"name": "Secure"}]
)
RETRY: Json = {
    "retry_policy": {
        "retry_on": "5xx",
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.001s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": "5",
    }
}
OVERWRITE: Json = {
    "request_headers_to_add": [
        {"header": {"key": "x-k", "value": "of the route"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
    ]
}

OTHER_PRIORITIES: Json = {
    "retry_policy": {
        "retry_on": "5xx",
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.001s"},
        "retry_priority": {
            "name": "envoy.retry_priorities.previous_priorities",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
                "update_frequency": 1,
            },
        },
    }
}

ROUTES = [
    route("/header", "ring", [header("x-k")]),
    route("/authority", "ring", [header(":authority")]),
    route("/path", "ring", [header(":path")]),
    route("/changed-header", "ring", [header("x-k")], extra=OVERWRITE),
    route("/changed-query", "ring", [QUERY], prefix_rewrite="/x?k=of-the-route&"),
    route("/query", "maglev", [QUERY]),
    route("/source", "maglev", [SOURCE]),
    route("/no-source", "ring", [{"connection_properties": {}}, header("x-k")]),
    route("/cookie", "ring", [cookie("sess")]),
    route("/session", "ring", [cookie("sess", ttl="0s")]),
    route("/made", "ring", [MADE]),
    route("/all", "ring", [header("x-k"), QUERY, SOURCE]),
    route("/twice", "ring", [header("x-k"), header("x-k")]),
    route("/terminal", "ring", [header("x-k", terminal=True), {**QUERY, "terminal": True}, SOURCE]),
    route("/late-terminal", "ring", [header("x-k"), {**QUERY, "terminal": True}, SOURCE]),
    route("/or-made", "ring", [header("x-k", terminal=True), MADE]),
    route("/retry-ring", "ring", [header("x-k")], **RETRY),
    route("/retry-maglev", "maglev", [header("x-k")], **RETRY),
    route("/retry-made", "ring", [header("x-k"), MADE], **RETRY),
    route("/far-retry-ring", "far-ring", [header("x-k")], **OTHER_PRIORITIES),
    route("/far-retry-maglev", "far-maglev", [header("x-k")], **OTHER_PRIORITIES),
    route(
        "/retry-plain",
        "ring",
        [header("x-k")],
        retry_policy={"retry_on": "5xx", "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}},
    ),
]

_COOKIES = (
    "cookie: sess=abc",
    "cookie: a=b; sess=abc",
    'cookie: sess="abc"',
    'cookie: sess="',
    "cookie: sess=a=b",
    "cookie: sess; sess=later",
    "cookie:   sess=abc;x=y",
    "cookie: ssess=q;sess=qq",
    "cookie: sess=one; sess=two",
)
EXCHANGES = [
    *(
        Exchange(path, (f"x-k: {key}",))
        for path in (
            "/header",
            "/changed-header",
            "/all?k=2",
            "/all",
            "/twice",
            "/no-source",
            "/late-terminal?k=5",
        )
        for key in range(5)
    ),
    *(
        Exchange("/header", lines)
        for lines in (
            ("x-k: b", "x-k: a"),
            ("x-k: a", "x-k: b"),
            ("x-k: a", "x-k: b", "x-k: c"),
            ("x-k: a,b",),
            ("x-k:",),
            ("X-K: 3",),
        )
    ),
    Exchange("/authority"),
    *(Exchange(f"/path/{i}") for i in range(5)),
    *(
        Exchange(f"{path}?{query}")
        for path in ("/query", "/changed-query", "/terminal", "/all")
        for query in (
            "k=1",
            "k=2&k=3",
            "x=1&k=7",
            "k=%20a",
            "k=+a",
            "k=",
        )
    ),
    Exchange("/source"),
    Exchange("/terminal"),
    Exchange("/late-terminal"),
    *(
        Exchange(path, (line,))
        for path in ("/cookie", "/made")
        for line in _COOKIES
        if path == "/made" or "sess" in line
    ),
    Exchange("/session"),
    Exchange("/made"),
    Exchange("/made", ("cookie: sess=",)),
    Exchange("/made", ("cookie: other=1",)),
    Exchange("/made", ("cookie: x=1", "cookie: sess=zz")),
    Exchange("/or-made", ("x-k: 1",)),
    Exchange("/or-made"),
    *(
        Exchange(path, (f"x-k: {key}", "x-fail: yes"))
        for path in (
            "/retry-ring",
            "/retry-maglev",
            "/retry-plain",
            "/retry-made",
            "/far-retry-ring",
            "/far-retry-maglev",
        )
        for key in range(8)
    ),
]
