"""What faults and CORS policies of a rule become, field by field, as Istio's control plane writes them."""

from __future__ import annotations

from typing import Any

import pytest

HOST = "web.default.svc.cluster.local"
FAULT, CORS = "envoy.filters.http.fault", "envoy.filters.http.cors"
ENABLED = {"filter_enabled": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}}


def _said(compiled: Any, fields: str, vanilla: bool = False) -> dict[str, Any]:
    text = f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web}}
spec:
  hosts: [web]
  http: [{{route: [{{destination: {{host: web}}}}], {fields}}}]
"""
    route = compiled(text, vanilla=vanilla).virtual_host("80", f"{HOST}:80")["routes"][0]
    found: dict[str, Any] = route.get("typed_per_filter_config", {})
    return found


def _millionths(numerator: int) -> dict[str, Any]:
    return {"numerator": numerator, "denominator": "MILLION"}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            "delay: {fixedDelay: 7s, percentage: {value: 100}}",
            {"delay": {"fixed_delay": "7s", "percentage": _millionths(1_000_000)}},
        ),
        (
            "delay: {fixedDelay: 1ms, percentage: {value: 0.0001}}",
            {"delay": {"fixed_delay": "0.001s", "percentage": _millionths(1)}},
        ),
        (
            "delay: {fixedDelay: 2s, percent: 30}",
            {"delay": {"fixed_delay": "2s", "percentage": {"numerator": 30, "denominator": "HUNDRED"}}},
        ),
        (
            "delay: {fixedDelay: 2s}",
            {"delay": {"fixed_delay": "2s", "percentage": {"numerator": 0, "denominator": "HUNDRED"}}},
        ),
        (
            "abort: {httpStatus: 555, percentage: {value: 33.3333}}",
            {"abort": {"http_status": 555, "percentage": _millionths(333_333)}},
        ),
        (
            "abort: {httpStatus: 500, percentage: {value: 0.0003}}",
            {"abort": {"http_status": 500, "percentage": _millionths(3)}},
        ),
        (
            "abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}",
            {"abort": {"grpc_status": 14, "percentage": _millionths(1_000_000)}},
        ),
        ("abort: {httpStatus: 500}", {"abort": {"http_status": 500}}),
        (
            "delay: {fixedDelay: 1s, percentage: {value: 0}}, abort: {httpStatus: 400, percentage: {value: 50}}",
            {
                "delay": {"fixed_delay": "1s", "percentage": _millionths(0)},
                "abort": {"http_status": 400, "percentage": _millionths(500_000)},
            },
        ),
    ],
)
def test_faults(compiled: Any, fault: str, expected: dict[str, Any]) -> None:
    found = _said(compiled, f"fault: {{{fault}}}")
    kind = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
    assert found == {FAULT: {"@type": kind, **expected}}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("allowMethods: [GET]", {"allow_methods": "GET"}),
        (
            "allowOrigins: [{exact: 'http://a'}, {prefix: 'http://b'}, {regex: 'http://.*'}]",
            {
                "allow_origin_string_match": [
                    {"exact": "http://a"},
                    {"prefix": "http://b"},
                    {"safe_regex": {"regex": "http://.*"}},
                ]
            },
        ),
        ("allowOrigin: ['*']", {"allow_origin_string_match": [{"exact": "*"}]}),
        (
            "allowOrigin: [x], allowOrigins: [{exact: y}]",
            {"allow_origin_string_match": [{"exact": "y"}]},
        ),
        (
            "allowMethods: [GET, POST], allowHeaders: [x-a, x-b], exposeHeaders: [x-c, x-d]",
            {"allow_methods": "GET,POST", "allow_headers": "x-a,x-b", "expose_headers": "x-c,x-d"},
        ),
        (
            "maxAge: 24h, allowCredentials: true, unmatchedPreflights: IGNORE",
            {"max_age": "86400", "allow_credentials": True, "forward_not_matching_preflights": False},
        ),
        (
            "allowCredentials: false, unmatchedPreflights: FORWARD",
            {"allow_credentials": False, "forward_not_matching_preflights": True},
        ),
        ("unmatchedPreflights: UNSPECIFIED", {}),
    ],
)
def test_cors(compiled: Any, policy: str, expected: dict[str, Any]) -> None:
    found = _said(compiled, f"corsPolicy: {{{policy}}}")
    kind = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy"
    assert found == {CORS: {"@type": kind, **ENABLED, **expected}}


def test_both_and_neither(compiled: Any) -> None:
    both = "fault: {abort: {httpStatus: 500, percentage: {value: 1}}}, corsPolicy: {allowOrigin: [a]}"
    assert set(_said(compiled, both, vanilla=True)) == {FAULT, CORS}
    assert _said(compiled, "timeout: 1s") == {}
