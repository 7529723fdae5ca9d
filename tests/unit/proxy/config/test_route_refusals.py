"""Route tables that Envoy 1.40 refuses (`--mode validate`), and ours with it, naming the path; and some that it takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.config.decode import ROUTE, ConfigError, decode
from proxy.config.per_filter import CORS
from proxy.router.matcher import RouteTableError
from proxy.router.route_builder import build_table

Json = dict[str, Any]
ANY: Json = {"prefix": "/"}
TO: Json = {"cluster": "a"}
POLICY = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy"


def load(route: Json) -> None:
    config = {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]}
    build_table(decode(ROUTE, "r", json.dumps(config).encode()))


def match(**fields: Any) -> Json:
    return {"match": fields, "route": TO}


def header(**matcher: Any) -> Json:
    return match(prefix="/", headers=[{"name": "x", **matcher}])


def action(**fields: Any) -> Json:
    return {"match": ANY, "route": {**TO, **fields}}


def operation(**fields: Any) -> Json:
    return {"match": ANY, "route": TO, **fields}


def redirect(**fields: Any) -> Json:
    return {"match": ANY, "redirect": fields}


def added(key: str, value: str = "x") -> list[Json]:
    return [{"header": {"key": key, "value": value}}]


def regex(pattern: str) -> Json:
    return {"safe_regex": {"regex": pattern}}


def weights(*of: int) -> Json:
    return {
        "match": ANY,
        "route": {"weighted_clusters": {"clusters": [{"name": "a", "weight": one} for one in of]}},
    }


REFUSED: list[tuple[Json, str]] = [
    (match(path_separated_prefix=""), "path_separated_prefix"),
    (match(path_separated_prefix="/"), "path_separated_prefix"),
    (match(path_separated_prefix="/a/"), "path_separated_prefix"),
    (match(path_separated_prefix="/a?b"), "path_separated_prefix"),
    (match(prefix="/", headers=[{"name": ""}]), "headers[0].name"),
    (header(string_match={"prefix": ""}), "string_match.prefix"),
    (header(string_match={"suffix": ""}), "string_match.suffix"),
    (header(string_match={"contains": ""}), "string_match.contains"),
    (header(string_match=regex("")), "safe_regex.regex"),
    (header(string_match={}), "string_match"),
    (header(prefix_match=""), "prefix_match"),
    (header(string_match={**regex("a"), "ignore_case": True}), "ignore_case has no effect for safe_regex"),
    (match(prefix="/", query_parameters=[{"name": ""}]), "query_parameters[0].name"),
    (match(prefix="/", query_parameters=[{"name": "a" * 1025}]), "query_parameters[0].name"),
    (action(regex_rewrite={"pattern": {"regex": "a"}, "substitution": "a\nb"}), "substitution"),
    (action(regex_rewrite={"pattern": {"regex": "a"}}, prefix_rewrite="/x"), "exclude each other"),
    (action(host_rewrite_literal="a\nb"), "host_rewrite_literal"),
    (action(prefix_rewrite="a\rb"), "prefix_rewrite"),
    (action(cluster=""), "cluster"),
    (operation(request_headers_to_add=added(":path")), ":-prefixed or host headers may not be modified"),
    (operation(request_headers_to_add=added("Host")), ":-prefixed or host headers may not be modified"),
    (operation(response_headers_to_add=added(":status")), ":-prefixed or host headers may not be modified"),
    (operation(request_headers_to_remove=["host"]), ":-prefixed or host headers may not be removed"),
    (operation(request_headers_to_remove=[":path"]), ":-prefixed or host headers may not be removed"),
    (operation(request_headers_to_remove=[""]), "request_headers_to_remove"),
    (operation(request_headers_to_add=added("")), "header.key"),
    (operation(request_headers_to_add=added("a", "x\r\ny: z")), "header.value"),
    (operation(request_headers_to_add=added("a", "100%")), "command operator"),
    (operation(request_headers_to_add=added("a", "%NOPE%")), "%NOPE% is not supported"),
    ({"match": ANY, "direct_response": {"status": 100}}, "direct_response.status"),
    ({"match": ANY, "direct_response": {"status": 600}}, "direct_response.status"),
    (
        {"match": ANY, "direct_response": {"status": 200, "body": {"inline_string": "a" * 4097}}},
        "response body size is 4097 bytes; maximum is 4096",
    ),
    (weights(0), "add up to 0"),
    (weights(2**32 - 1, 1), "more than 4294967295"),
    (redirect(https_redirect=True, scheme_redirect="http"), "exclude each other"),
    (redirect(path_redirect="/a", prefix_rewrite="/b"), "exclude each other"),
    (redirect(host_redirect="a\nb"), "host_redirect"),
    (redirect(path_redirect="a\nb"), "path_redirect"),
]


@pytest.mark.parametrize(("route", "why"), REFUSED, ids=[f"{n}-{why}" for n, (_, why) in enumerate(REFUSED)])
def test_refused(route: Json, why: str) -> None:
    with pytest.raises((ConfigError, RouteTableError)) as refused:
        load(route)
    assert why in str(refused.value)
    assert "virtual_hosts[" in str(refused.value)


PATTERNS = ["(?=a)b", r"(a)\1", "a{1001}", "[", "*", ".{1000}" * 33]
PLACES: dict[str, Any] = {
    "uri": lambda pattern: match(**regex(pattern)),
    "header": lambda pattern: header(string_match=regex(pattern)),
    "header of old": lambda pattern: header(safe_regex_match={"regex": pattern}),
    "query parameter": lambda pattern: match(
        prefix="/", query_parameters=[{"name": "q", "string_match": regex(pattern)}]
    ),
    "rewrite": lambda pattern: action(regex_rewrite={"pattern": {"regex": pattern}, "substitution": "x"}),
    "redirect": lambda pattern: redirect(regex_rewrite={"pattern": {"regex": pattern}, "substitution": "x"}),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("pattern", PATTERNS, ids=[pattern[:8] for pattern in PATTERNS])
def test_patterns_re2_does_not_take_are_refused_everywhere(place: str, pattern: str) -> None:
    with pytest.raises(RouteTableError, match=r'virtual_hosts\["v"\]\.routes\[0\]'):
        load(PLACES[place](pattern))


@pytest.mark.parametrize(
    "route",
    [
        match(prefix=""), match(path=""), match(path="a"), match(path="/a?b"), match(**regex("/a"), case_sensitive=False),
        header(string_match={"exact": ""}), match(prefix="/", headers=[{"name": "a b"}]),
        action(regex_rewrite={"pattern": {"regex": "(a)"}, "substitution": r"\2"}),
        action(prefix_rewrite="/x") | {"match": regex("/a")}, operation(request_headers_to_add=added("a b")),
        {"match": ANY, "direct_response": {"status": 204, "body": {"inline_string": "x"}}},
        redirect(port_redirect=70000),
    ],
)  # fmt: skip
def test_taken(route: Json) -> None:
    load(route)


LINES: list[tuple[Json, str]] = [
    (action(hash_policy=[{"cookie": {"name": "a", "ttl": "0s", "path": "/\r\nb: c"}}]), "path"),
    (action(hash_policy=[{"cookie": {"name": "a\n", "ttl": "0s"}}]), "name"),
    (operation(typed_per_filter_config={CORS: {"@type": POLICY, "allow_headers": "a\r\nb: c"}}), "allow_headers"),
    (operation(decorator={"operation": "a\n"}), "operation"),
    (redirect(scheme_redirect="a\n"), "scheme_redirect"),
]  # fmt: skip


@pytest.mark.parametrize(("route", "path"), LINES)
def test_no_text_begins_a_line_of_its_own(route: Json, path: str) -> None:
    """Some of this Envoy takes, and sends."""
    with pytest.raises(ConfigError, match=path):
        load(route)
