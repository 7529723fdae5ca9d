"""CORS by dialogues; what Envoy answers to the same is in tests/differential/cases/cors.yaml."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.proxy.http.filters.filtered import CORS, Filtered, abort, cors, disabled, route

A = [{"exact": "http://a.test"}]
FROM_A, FROM_B = "origin: http://a.test", "origin: http://b.test"
ASKS = "access-control-request-method: PUT"
PREFIX = "access-control-"
FULL: dict[str, Any] = {
    "allow_origin_string_match": A,
    "allow_methods": "GET,PUT",
    "allow_headers": "x-a",
    "expose_headers": "x-e",
    "max_age": "60",
    "allow_credentials": True,
}
MARKS = {"allow-origin": "http://a.test", "allow-credentials": "true", "expose-headers": "x-e"}
GRANTS = {"allow-methods": "GET,PUT", "allow-headers": "x-a", "max-age": "60", "allow-credentials": "true"}


def said(answer: list[str]) -> dict[str, str]:
    """What an answer says of CORS."""
    pairs = (line.partition(": ") for line in answer)
    return {name.removeprefix(PREFIX): value for name, _, value in pairs if name.startswith(PREFIX)}


@pytest.mark.parametrize(
    ("policy", "method", "headers", "expected"),
    [
        (FULL, "GET", [FROM_A], MARKS),
        (FULL, "GET", [FROM_B], {}),
        (FULL, "GET", [], {}),
        (FULL, "GET", ["origin:"], {}),
        (FULL, "GET", [FROM_A, ASKS], MARKS),
        (FULL, "OPTIONS", [FROM_A], MARKS),
        (FULL, "OPTIONS", [FROM_A, "access-control-request-method:"], MARKS),
        (FULL, "OPTIONS", [FROM_A, ASKS], {**GRANTS, **MARKS}),
        (FULL, "OPTIONS", [FROM_B, ASKS], {}),
        ({**FULL, "forward_not_matching_preflights": False}, "OPTIONS", [FROM_B, ASKS], GRANTS),
        ({**FULL, "filter_enabled": {"default_value": {"numerator": 0}}}, "OPTIONS", [FROM_A, ASKS], {}),
        ({"allow_origin_string_match": A}, "OPTIONS", [FROM_A, ASKS], {"allow-origin": "http://a.test"}),
        ({"allow_methods": "GET"}, "GET", [FROM_A], {}),
        ({"allow_origin_string_match": [{"exact": "*"}]}, "GET", [FROM_B], {"allow-origin": "http://b.test"}),
        (
            {"allow_origin_string_match": [{"safe_regex": {"regex": "http://[ab]\\.test"}}]},
            "GET",
            [FROM_B],
            {"allow-origin": "http://b.test"},
        ),
        ({"allow_origin_string_match": A}, "GET", [FROM_A, FROM_B], {}),
        (
            {"allow_origin_string_match": A, "allow_methods": "*", "allow_headers": "*"},
            "OPTIONS",
            [FROM_A, ASKS, "access-control-request-headers: x-q"],
            {"allow-origin": "http://a.test", "allow-methods": "PUT", "allow-headers": "x-q"},
        ),
        (
            {"allow_origin_string_match": A, "allow_private_network_access": True},
            "OPTIONS",
            [FROM_A, ASKS, "access-control-request-private-network: true"],
            {"allow-origin": "http://a.test", "allow-private-network": "true"},
        ),
    ],
)
def test_requests_and_preflights(
    policy: dict[str, Any], method: str, headers: list[str], expected: dict[str, str]
) -> None:
    answer = Filtered(route("/", cors(**policy))).ask("/", *headers, method=method)
    assert (answer[0], said(answer)) == ("200 OK", expected)


def test_a_preflight_is_answered_here() -> None:
    mesh = Filtered(
        route("/", cors(**FULL), response_headers_to_add=[{"header": {"key": "x-r", "value": "1"}}])
    )
    answer = mesh.ask("/", FROM_A, ASKS, "content-type: application/grpc", method="OPTIONS")
    assert "content-length: 0" in answer
    assert "x-r: 1" not in answer
    assert not mesh.connector.attempts
    assert mesh.infos[0].response_code_details == "cors_response"
    assert mesh.infos[0].upstream_cluster == "up"


def test_origins_are_counted() -> None:
    mesh = Filtered(route("/", cors(**FULL)))
    for headers in ([FROM_A], [FROM_B], [FROM_A, ASKS], []):
        mesh.ask("/", *headers, method="OPTIONS")
    assert mesh.stat("http.test.cors.origin_valid") == 2
    assert mesh.stat("http.test.cors.origin_invalid") == 1


def test_a_shadowed_policy_only_counts() -> None:
    share = {
        "filter_enabled": {"default_value": {"numerator": 0}},
        "shadow_enabled": {"default_value": {"numerator": 100}},
    }
    mesh = Filtered(route("/", cors(**FULL, **share)))
    assert said(mesh.ask("/", FROM_A, ASKS, method="OPTIONS")) == {}
    assert mesh.stat("http.test.cors.origin_valid") == 1


def test_each_property_is_the_most_specific_one() -> None:
    mesh = Filtered(
        route("/methods", cors(allow_methods="PATCH")),
        route(
            "/origin", cors(allow_origin_string_match=[{"exact": "http://b.test"}], allow_credentials=False)
        ),
        route("/off", disabled(CORS)),
        route("/same"),
        vhost={"typed_per_filter_config": cors(**FULL)},
    )
    preflight = [FROM_A, ASKS]
    assert said(mesh.ask("/same", *preflight, method="OPTIONS")) == {**GRANTS, **MARKS}
    methods = said(mesh.ask("/methods", *preflight, method="OPTIONS"))
    assert methods == {**GRANTS, **MARKS, "allow-methods": "PATCH"}
    assert said(mesh.ask("/origin", FROM_A)) == {}
    assert said(mesh.ask("/origin", FROM_B)) == {"allow-origin": "http://b.test", "expose-headers": "x-e"}
    assert said(mesh.ask("/off", *preflight, method="OPTIONS")) == {}


@pytest.mark.parametrize(
    "answer", [{"redirect": {"path_redirect": "/x"}}, {"direct_response": {"status": 200}}], ids=str
)
def test_not_on_routes_that_answer_themselves(answer: dict[str, Any]) -> None:
    mesh = Filtered({"match": {"prefix": "/"}, **answer, "typed_per_filter_config": cors(**FULL)})
    assert said(mesh.ask("/", FROM_A)) == {}


def test_a_fault_comes_before() -> None:
    assert said(Filtered(route("/", abort(), cors(**FULL))).ask("/", FROM_A)) == {}


def test_failures_are_marked() -> None:
    failing = route("/", cors(**FULL))
    failing["route"]["cluster"] = "none"
    answer = Filtered(failing).ask("/", FROM_A)
    assert (answer[0], said(answer)) == ("503 Service Unavailable", MARKS)


def test_what_the_upstream_says_is_replaced() -> None:
    mesh = Filtered(route("/", cors(allow_origin_string_match=A)))
    client = mesh.client()
    client.receive(b"GET / HTTP/1.1\r\nhost: a\r\norigin: http://a.test\r\n\r\n")
    mesh.run()
    own = b"access-control-allow-origin: own\r\naccess-control-allow-credentials: own\r\n"
    mesh.upstream.receive(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + own + b"\r\n")
    answer = client.take().decode()
    assert answer.count("allow-origin") == 1
    assert "access-control-allow-origin: http://a.test" in answer
    assert "access-control-allow-credentials: own" in answer
