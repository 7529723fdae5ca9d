"""LocalRateLimits in what proxies get: where the filter is, what it says, and which of several counts."""

from __future__ import annotations

from typing import Any

import pytest

HOST = "web.default.svc.cluster.local"
LIMIT = "envoy.filters.http.local_ratelimit"
ALL = {"numerator": 1_000_000, "denominator": "MILLION"}
ROUTED = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - {name: a, match: [{uri: {prefix: /a}}], route: [{destination: {host: web}}]}
  - {name: b, redirect: {uri: /a}}
"""


def _limit(spec: str, name: str = "l", namespace: str = "default", tokens: int = 5) -> str:
    return f"""
---
apiVersion: glassmesh.io/v1alpha1
kind: LocalRateLimit
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{tokenBucket: {{maxTokens: {tokens}, fillInterval: 1m}}, {spec}}}
"""


def _filters(listener: dict[str, Any]) -> dict[int | None, list[str]]:
    """Filter names by the port of each HTTP chain."""
    found: dict[int | None, list[str]] = {}
    for chain in listener["filter_chains"]:
        typed = chain["filters"][-1]["typed_config"]
        if "http_filters" in typed:
            port = chain.get("filter_chain_match", {}).get("destination_port")
            found[port] = [one["name"] for one in typed["http_filters"]]
    return found


def _inbound(compiled: Any, text: str, vanilla: bool = False) -> dict[int | None, int | None]:
    """The size of the bucket of each inbound port; None: no limit."""
    found: dict[int | None, int | None] = {}
    for chain in compiled(text, name="web-v1", vanilla=vanilla).listeners["virtualInbound"]["filter_chains"]:
        typed = chain["filters"][-1]["typed_config"]
        if "http_filters" in typed:
            limits = [one["typed_config"] for one in typed["http_filters"] if one["name"] == LIMIT]
            port = chain["filter_chain_match"].get("destination_port")
            found[port] = limits[0]["token_bucket"]["max_tokens"] if limits else None
    return found


@pytest.mark.parametrize("vanilla", [False, True])
def test_the_chain_has_it_only_where_something_is_limited(compiled: Any, vanilla: bool) -> None:
    def names(text: str, name: str, listener: str) -> list[str]:
        chains = _filters(compiled(text, name=name, vanilla=vanilla).listeners[listener])
        return next(iter(chains.values()))

    routed, served = ROUTED + _limit("routes: [{virtualService: web}]"), _limit("ports: [8080]")
    assert LIMIT not in names("", "client", "0.0.0.0_80")
    assert LIMIT not in names(served, "client", "0.0.0.0_80")
    assert LIMIT not in names(routed, "web-v1", "virtualInbound")
    found = names(routed, "client", "0.0.0.0_80")
    assert found[found.index(LIMIT) - 2 : found.index(LIMIT)] == [
        "envoy.filters.http.fault",
        "envoy.filters.http.cors",
    ]


def test_routes(compiled: Any) -> None:
    def said(spec: str) -> list[bool]:
        host = compiled(ROUTED + _limit(spec)).virtual_host("80", f"{HOST}:80")
        return [LIMIT in route.get("typed_per_filter_config", {}) for route in host["routes"]]

    assert said("routes: [{virtualService: web}]") == [True, True]
    assert said("routes: [{virtualService: web, names: [b]}]") == [False, True]
    assert said("routes: [{virtualService: other}]") == [False, False]


def test_a_named_route_goes_before_its_virtual_service(compiled: Any) -> None:
    text = ROUTED + _limit("routes: [{virtualService: web}]", "all", tokens=1)
    text += _limit("routes: [{virtualService: web, names: [b]}]", "b", tokens=2)
    host = compiled(text).virtual_host("80", f"{HOST}:80")
    found = [
        route["typed_per_filter_config"][LIMIT]["token_bucket"]["max_tokens"] for route in host["routes"]
    ]
    assert found == [1, 2]


def test_every_field(compiled: Any) -> None:
    spec = """routes: [{virtualService: web, names: [a]}], status: 503, responseHeaders: {x-l: 'yes'},
      rateLimitHeaders: true, perConnection: true, enabledPercentage: {value: 12.5}, limits: [
      {match: {path: {exact: /x.y}, method: {prefix: P}, headers: {u: {regex: 'a+'}, v: {}}},
       tokenBucket: {maxTokens: 1, tokensPerFill: 2, fillInterval: 0.5s}},
      {each: {header: X-User}, tokenBucket: {maxTokens: 3, fillInterval: 1s}},
      {match: {path: {regex: '/[a-z]'}}, each: {clientAddress: true}, tokenBucket: {maxTokens: 4, fillInterval: 1s}}]"""
    host = compiled(ROUTED + _limit(spec)).virtual_host("80", f"{HOST}:80")
    assert host["routes"][0]["typed_per_filter_config"][LIMIT] == {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "local_rate_limit.default.l",
        "token_bucket": {"max_tokens": 5, "tokens_per_fill": 1, "fill_interval": "60s"},
        "filter_enabled": {"default_value": {"numerator": 125_000, "denominator": "MILLION"}},
        "filter_enforced": {"default_value": ALL},
        "rate_limits": [
            {
                "actions": [
                    {
                        "header_value_match": {
                            "descriptor_key": "limit",
                            "descriptor_value": "0",
                            "headers": [
                                {
                                    "name": ":path",
                                    "string_match": {"safe_regex": {"regex": r"(?:\Q/x.y\E)(?:\?.*)?"}},
                                },
                                {"name": ":method", "string_match": {"prefix": "P"}},
                                {"name": "u", "string_match": {"safe_regex": {"regex": "a+"}}},
                                {"name": "v", "present_match": True},
                            ],
                        }
                    }
                ]
            },
            {
                "actions": [
                    {"generic_key": {"descriptor_key": "limit", "descriptor_value": "1"}},
                    {"request_headers": {"header_name": "X-User", "descriptor_key": "X-User"}},
                ]
            },
            {
                "actions": [
                    {
                        "header_value_match": {
                            "descriptor_key": "limit",
                            "descriptor_value": "2",
                            "headers": [
                                {
                                    "name": ":path",
                                    "string_match": {"safe_regex": {"regex": r"(?:/[a-z])(?:\?.*)?"}},
                                }
                            ],
                        }
                    },
                    {"remote_address": {}},
                ]
            },
        ],
        "descriptors": [
            {
                "entries": [{"key": "limit", "value": "0"}],
                "token_bucket": {"max_tokens": 1, "tokens_per_fill": 2, "fill_interval": "0.500s"},
            },
            {
                "entries": [{"key": "limit", "value": "1"}, {"key": "X-User"}],
                "token_bucket": {"max_tokens": 3, "tokens_per_fill": 1, "fill_interval": "1s"},
            },
            {
                "entries": [{"key": "limit", "value": "2"}, {"key": "remote_address"}],
                "token_bucket": {"max_tokens": 4, "tokens_per_fill": 1, "fill_interval": "1s"},
            },
        ],
        "max_dynamic_descriptors": 1024,
        "status": {"code": 503},
        "response_headers_to_add": [
            {"header": {"key": "x-l", "value": "yes"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        ],
        "local_rate_limit_per_downstream_connection": True,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
    }


@pytest.mark.parametrize(
    ("limits", "port", "others"),
    [
        ([("ports: [8080]", "default")], 0, None),
        ([("ports: [9999]", "default")], None, None),
        ([("selector: {matchLabels: {app: web}}", "default")], 0, 0),
        ([("selector: {matchLabels: {app: other}}", "default")], None, None),
        ([("status: 429", "default")], 0, 0),
        ([("status: 429", "other")], None, None),
        ([("status: 429", "istio-system")], 0, 0),
        ([("status: 429", "istio-system"), ("status: 429", "default")], 1, 1),
        ([("status: 429", "default"), ("selector: {matchLabels: {app: web}}", "default")], 1, 1),
        ([("selector: {matchLabels: {app: web}}", "default"), ("ports: [8080]", "default")], 1, 0),
        ([("ports: [8080]", "default"), ("ports: [8080]", "default")], 0, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("vanilla", [False, True])
def test_of_several_the_narrowest_then_the_oldest(
    compiled: Any, limits: list[tuple[str, str]], port: int | None, others: int | None, vanilla: bool
) -> None:
    text = "".join(_limit(spec, f"l{i}", namespace, i + 1) for i, (spec, namespace) in enumerate(limits))
    found = _inbound(compiled, text, vanilla)
    assert found == {
        8080: None if port is None else port + 1,
        None: None if others is None else others + 1,
    }


GATEWAY = """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]
"""


@pytest.mark.parametrize(
    ("spec", "bucket"),
    [
        ("selector: {matchLabels: {istio: ingressgateway}}", 5),
        ("ports: [80]", 5),
        ("ports: [8080]", None),
        ("routes: [{virtualService: web}]", 0),
    ],
)
def test_a_gateway_has_its_own_limit_or_those_of_its_routes(
    compiled: Any, spec: str, bucket: int | None
) -> None:
    listener = compiled(ROUTED + GATEWAY + _limit(spec), "gateway", kind="router").listeners["0.0.0.0_80"]
    typed = listener["filter_chains"][0]["filters"][0]["typed_config"]
    limits = [one["typed_config"] for one in typed["http_filters"] if one["name"] == LIMIT]
    found = limits[0].get("token_bucket", {}).get("max_tokens", 0) if limits else None
    assert found == bucket
