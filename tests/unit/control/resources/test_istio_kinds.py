"""What the Istio kinds refuse and warn of, with path and wording."""

from __future__ import annotations

from typing import Any

import pytest

from control.resources import destination_rule, gateway, peer_authentication, virtual_service
from control.resources.istio_kinds import ISTIO_KINDS
from control.resources.istio_types import host_matches, parse_duration
from control.resources.kind import Kind

ROUTE = {"route": [{"destination": {"host": "a"}}]}


def _errors(kind: Kind, spec: dict[str, Any]) -> list[str]:
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x"}, "spec": spec}
    return [str(error) for error in kind.validate(obj).errors]


def _vs(http: list[Any], **spec: Any) -> dict[str, Any]:
    return {"hosts": ["a"], "http": http, **spec}


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (_vs([ROUTE]), []),
        (_vs([{**ROUTE, "timeout": "0s"}]), []),
        ({"hosts": ["a"]}, ["spec: http, tcp or tls must be provided in virtual service"]),
        (
            _vs([ROUTE], hosts=["*"]),
            [
                "spec.hosts[0]: wildcard host * is not allowed for virtual services bound to the mesh gateway",
            ],
        ),
        (_vs([ROUTE], hosts=["*"], gateways=["gw"]), []),
        (
            _vs([ROUTE], hosts=["*.com", "x.com"]),
            ["spec.hosts: duplicate hosts in virtual service: *.com & x.com"],
        ),
        (_vs([ROUTE], gateways=["a/b/c"]), 1),
        (_vs([{}]), ["spec.http[0]: HTTP route, redirect or direct_response is required"]),
        (
            _vs([{**ROUTE, "redirect": {"uri": "/"}, "rewrite": {"uri": "/"}}]),
            [
                "spec.http[0].redirect: HTTP route cannot contain both route and redirect",
                "spec.http[0].redirect: HTTP route rule cannot contain both rewrite and redirect",
            ],
        ),
        (
            _vs([{**ROUTE, "directResponse": {"status": 700}}]),
            [
                "spec.http[0].directResponse: HTTP route cannot contain both route and direct_response",
                "spec.http[0].directResponse.status: HTTP status 700 is not in range 200..599",
            ],
        ),
        (
            _vs([{"redirect": {}}]),
            ["spec.http[0].redirect: redirect must specify URI, authority, scheme, or port"],
        ),
        (_vs([{"redirect": {"uri": "/", "redirectCode": 200}}]), 1),
        (
            _vs([{"route": [{"destination": {"host": "a"}, "weight": w} for w in (0, 0)]}]),
            ["spec.http[0].route: total destination weight = 0"],
        ),
        (
            _vs([{"route": [{"destination": {"host": "*"}}]}]),
            ["spec.http[0].route[0].destination.host: invalid destination host *"],
        ),
        (
            _vs([{**ROUTE, "timeout": "1us"}]),
            ["spec.http[0].timeout: duration must be greater than 1ms"],
        ),
        (
            _vs([{**ROUTE, "timeout": "1500us"}]),
            ["spec.http[0].timeout: only durations to ms precision are supported"],
        ),
        (
            _vs([{**ROUTE, "retries": {"attempts": 0, "retryOn": "5xx"}}]),
            ["spec.http[0].retries: http retry policy configured when attempts are set to 0 (disabled)"],
        ),
        (
            _vs([{**ROUTE, "retries": {"attempts": 1, "retryOn": "5xx,nonsense"}}]),
            ['spec.http[0].retries.retryOn: "nonsense" is not a valid retryOn policy'],
        ),
        (
            _vs([{**ROUTE, "headers": {"request": {"set": {":path": "x"}, "remove": ["Host"]}}}]),
            [
                'spec.http[0].headers.request.set.:path: invalid header ":path": header cannot have ":" prefix',
                'spec.http[0].headers.request.remove[0]: invalid header "Host": cannot set Host header',
            ],
        ),
        (_vs([{**ROUTE, "match": [{"uri": {"exact": "a", "prefix": "b"}}]}]), 1),
        (
            _vs([{**ROUTE, "match": [{"uri": {"prefix": ""}}]}]),
            ['spec.http[0].match[0].uri.prefix: "uri": prefix string match should not be empty'],
        ),
        (_vs([{**ROUTE, "match": [{"port": 70000}]}]), 1),
        (_vs([ROUTE], unknown=1), ['spec.unknown: unknown field "spec.unknown"']),
        (
            {"http": [ROUTE], "gateways": ["x"]},
            ["spec.gateways: delegate virtual service must have no gateways specified"],
        ),
        (
            _vs([{**ROUTE, "delegate": {"name": "d"}}]),
            ["spec.http[0].route: root HTTP route  must not specify route"],
        ),
        (
            {"hosts": ["a.b"], "tls": [{"match": [{"sniHosts": ["c.d"]}], **ROUTE}]},
            [
                'spec.tls[0].match[0].sniHosts[0]: SNI host "c.d" is not a compatible subset of any of the virtual '
                "service hosts: [a.b]"
            ],
        ),
    ],
)
def test_virtual_service(spec: dict[str, Any], errors: list[str] | int) -> None:
    found = _errors(virtual_service.KIND, spec)
    assert (len(found) if isinstance(errors, int) else found) == errors


def test_every_error_is_reported_at_once() -> None:
    rules = [
        {"route": [{"destination": {"host": "a"}, "weight": -1}], "timeout": "1x"},
        {"match": [{"uri": {"regex": "("}}], **ROUTE},
        {},
    ]
    paths = [error.partition(": ")[0] for error in _errors(virtual_service.KIND, _vs(rules, hosts=["a b"]))]
    assert paths == [
        "spec.hosts[0]",
        "spec.http[0].route[0].weight",
        "spec.http[0].timeout",
        "spec.http[1].match[0].uri.regex",
        "spec.http[2]",
    ]


def test_what_has_no_effect_yet_is_a_warning() -> None:
    spec = _vs([{**ROUTE, "websocketUpgrade": True}])
    verdict = virtual_service.KIND.validate({"metadata": {"name": "x"}, "spec": spec})
    assert verdict.warnings == ("spec.http[0].websocketUpgrade is accepted but not acted on yet",)


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (
            {"host": "a", "subsets": [{"name": "v1"}, {"name": "v1"}]},
            ["spec.subsets: duplicate subset names: v1"],
        ),
        ({"host": "a b"}, 1),
        (
            {"host": "a", "trafficPolicy": {}},
            ["spec.trafficPolicy: traffic policy must have at least one field"],
        ),
        (
            {"host": "a", "trafficPolicy": {"tls": {"mode": "MUTUAL"}}},
            [
                "spec.trafficPolicy.tls.clientCertificate: client certificate required for mutual tls",
                "spec.trafficPolicy.tls.privateKey: private key required for mutual tls",
            ],
        ),
        ({"host": "a", "trafficPolicy": {"loadBalancer": {"simple": "BEST"}}}, 1),
        ({"host": "a", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": -1}}}}, 1),
        ({"host": "a", "subsets": [{"name": "", "labels": {"a b": "c"}}]}, 2),
    ],
)
def test_destination_rule(spec: dict[str, Any], errors: list[str] | int) -> None:
    found = _errors(destination_rule.KIND, spec)
    assert (len(found) if isinstance(errors, int) else found) == errors


def _server(**changes: Any) -> dict[str, Any]:
    return {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"], **changes}


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"servers": [_server()]}, []),
        ({"servers": []}, ["spec.servers: gateway must have at least one server"]),
        (
            {"servers": [_server(hosts=[])]},
            ["spec.servers[0].hosts: server config must contain at least one host"],
        ),
        ({"servers": [_server(hosts=["short"])]}, 1),
        ({"servers": [_server(), _server()]}, 1),
        (
            {"servers": [_server(tls={"mode": "SIMPLE", "credentialName": "x"})]},
            ["spec.servers[0].tls: server cannot have TLS settings for non HTTPS/TLS ports"],
        ),
        ({"servers": [_server(tls={"httpsRedirect": True})]}, []),
        (
            {"servers": [_server(port={"number": 443, "name": "https", "protocol": "HTTPS"})]},
            ["spec.servers[0].tls: server must have TLS settings for HTTPS/TLS protocols"],
        ),
        ({"servers": [_server(port={"number": 80, "name": "x", "protocol": "SMTP"})]}, 1),
    ],
)
def test_gateway(spec: dict[str, Any], errors: list[str] | int) -> None:
    found = _errors(gateway.KIND, spec)
    assert (len(found) if isinstance(errors, int) else found) == errors


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        ({"mtls": {"mode": "STRICT"}}, 0),
        ({"portLevelMtls": {"80": {"mode": "STRICT"}}}, 1),
        ({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"80": {"mode": "STRICT"}}}, 0),
        ({"selector": {"matchLabels": {"a": "*"}}, "portLevelMtls": {"0": {}}}, 2),
        ({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"0": {}, "x": {}}}, 2),
    ],
)
def test_peer_authentication(spec: dict[str, Any], count: int) -> None:
    assert len(_errors(peer_authentication.KIND, spec)) == count


@pytest.mark.parametrize("kind", ISTIO_KINDS, ids=lambda kind: kind.kind)
def test_columns_and_schema(kind: Kind) -> None:
    empty = {"metadata": {"name": "x"}, "spec": {}}
    assert all(isinstance(column.cell(empty), str) for column in kind.columns)
    assert kind.schema["properties"]["spec"]["type"] == "object"
    assert kind.versions[0] == "v1"


@pytest.mark.parametrize(
    ("text", "seconds"), [("1m30s", 90), ("250ms", 0.25), ("0s", 0), (".5s", 0.5), ("1h", 3600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert float(parse_duration(text)) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1s x"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("wide", "narrow", "covers"),
    [
        ("*", "a.b", True),
        ("*.b", "a.b", True),
        ("*.b", "*.a.b", True),
        ("*.a.b", "*.b", False),
        ("a.b", "a.b", True),
        ("*.b", "b", False),
    ],
)
def test_host_matches(wide: str, narrow: str, covers: bool) -> None:
    assert host_matches(wide, narrow) is covers


@pytest.mark.parametrize(
    ("server", "warned"),
    [
        (_server(), False),
        (_server(port={"number": 443, "name": "tls", "protocol": "TLS"}, tls={"mode": "PASSTHROUGH"}), True),
        (_server(port={"number": 9000, "name": "tcp", "protocol": "TCP"}), True),
        (
            _server(
                port={"number": 443, "name": "https", "protocol": "HTTPS"},
                tls={"mode": "SIMPLE", "credentialName": "x"},
            ),
            False,
        ),
    ],
)
def test_servers_no_listener_is_made_for_are_a_warning(server: dict[str, Any], warned: bool) -> None:
    verdict = gateway.KIND.validate({"metadata": {"name": "x"}, "spec": {"servers": [server]}})
    assert not verdict.errors
    assert verdict.warnings == (("spec.servers[0] is accepted but not acted on yet",) if warned else ())
