"""LocalRateLimit: what is accepted, what is refused and where."""

from __future__ import annotations

from typing import Any

import pytest

from control.resources import KINDS
from control.resources.local_rate_limit import KIND

BUCKET = {"maxTokens": 10, "fillInterval": "1m"}
LIMIT = {"match": {"path": {"prefix": "/a"}}, "tokenBucket": BUCKET}
ROUTES = [{"virtualService": "web"}]


def _errors(**spec: Any) -> list[str]:
    obj = {
        "apiVersion": "glassmesh.io/v1alpha1",
        "kind": "LocalRateLimit",
        "metadata": {"name": "x", "namespace": "default"},
        "spec": {"tokenBucket": BUCKET, **spec},
    }
    return [str(error) for error in KIND.validate(obj).errors]


def test_it_is_served() -> None:
    assert KIND in KINDS
    assert KIND.api_version == "glassmesh.io/v1alpha1"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"selector": {"matchLabels": {"app": "web"}}, "ports": [8080]},
        {"routes": [{"virtualService": "web", "names": ["a", "b"]}]},
        {"limits": [LIMIT, {"each": {"header": "x-user"}, "tokenBucket": BUCKET}]},
        {"limits": [{**LIMIT, "each": {"clientAddress": True}}]},
        {"limits": [{"match": {"method": {"exact": "GET"}, "headers": {"x": {}}}, "tokenBucket": BUCKET}]},
        {
            "status": 503,
            "responseHeaders": {"x-limited": "yes"},
            "rateLimitHeaders": True,
            "perConnection": True,
        },
        {"enabledPercentage": {"value": 0}, "enforcedPercentage": {"value": 0.0001}},
        {"tokenBucket": {"maxTokens": 1, "tokensPerFill": 5, "fillInterval": "50ms"}},
    ],
    ids=str,
)
def test_accepted(spec: dict[str, Any]) -> None:
    assert _errors(**spec) == []


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (
            {"tokenBucket": {"maxTokens": 0, "fillInterval": "1s"}},
            ["spec.tokenBucket.maxTokens: must be greater than 0"],
        ),
        (
            {"tokenBucket": {"maxTokens": 1, "tokensPerFill": 0, "fillInterval": "49ms"}},
            [
                "spec.tokenBucket.tokensPerFill: must be greater than 0",
                "spec.tokenBucket.fillInterval: must be at least 50ms",
            ],
        ),
        ({"tokenBucket": {"maxTokens": 1}}, ["spec.tokenBucket.fillInterval: Required value"]),
        ({"tokenBucket": {"maxTokens": -1, "fillInterval": "x"}}, 2),
        (
            {"routes": ROUTES, "ports": [80]},
            ["spec.routes: routes are limited at their clients, workloads at the servers: set one of both"],
        ),
        ({"routes": []}, ["spec.routes: must have at least one element"]),
        (
            {"routes": [{"virtualService": "", "names": [""]}]},
            [
                "spec.routes[0].virtualService: name of a VirtualService is required",
                "spec.routes[0].names[0]: route name cannot be empty",
            ],
        ),
        ({"ports": [0]}, ["spec.ports[0]: port number 0 must be in the range 1..65535"]),
        ({"ports": [80, 80]}, ["spec.ports[1]: port 80 stands twice"]),
        ({"ports": []}, ["spec.ports: must have at least one element"]),
        ({"selector": {"matchLabels": {"app": "*"}}}, 1),
        ({"status": 200}, ["spec.status: HTTP status 200 is not in range 400..599"]),
        ({"responseHeaders": {"a b": "x"}}, 1),
        ({"limits": [{"tokenBucket": BUCKET}]}, 1),
        (
            {"limits": [LIMIT, {"match": {}, "tokenBucket": BUCKET}]},
            ["spec.limits[1].match: match must have a path, a method or headers"],
        ),
        (
            {"limits": [{"match": {"path": {}, "method": {"regex": "("}}, "tokenBucket": BUCKET}]},
            2,
        ),
        ({"limits": [{"match": {"headers": {"a b": {"exact": "x"}}}, "tokenBucket": BUCKET}]}, 1),
        (
            {"limits": [{"each": {"header": "x", "clientAddress": True}, "tokenBucket": BUCKET}]},
            ["spec.limits[0].each: exactly one of header and clientAddress must be set"],
        ),
        ({"limits": [{"each": {}, "tokenBucket": BUCKET}]}, 1),
        (
            {"enforcedPercentage": {"value": 101}},
            ["spec.enforcedPercentage.value: percentage 101 is neither 0.0, nor in range [0.0001, 100.0]"],
        ),
        ({"burst": 3}, ['spec.burst: unknown field "spec.burst"']),
    ],
    ids=str,
)
def test_refused(spec: dict[str, Any], errors: list[str] | int) -> None:
    found = _errors(**spec)
    assert (len(found) if isinstance(errors, int) else found) == errors


def test_columns() -> None:
    def cells(**spec: Any) -> list[Any]:
        return [column.cell({"spec": {"tokenBucket": BUCKET, **spec}}) for column in KIND.columns]

    assert cells(selector={"matchLabels": {"app": "web"}}) == ["app=web", "1/1m", 10]
    assert cells(routes=[{"virtualService": "web", "names": ["a", "b"]}, *ROUTES]) == [
        "web/a,b,web/*",
        "1/1m",
        10,
    ]
    assert KIND.columns[2].cell({}) == 0
