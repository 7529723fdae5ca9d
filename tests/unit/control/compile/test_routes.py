"""What rules become, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from control.mesh_config import MeshConfig, OutboundTrafficPolicy

HOST = "web.default.svc.cluster.local"


def _rule(http: str, extra: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web}}
spec:
  hosts: [web]
  http: {http}
{extra}
"""


def _routes(compiled: Any, http: str, **kwargs: Any) -> list[dict[str, Any]]:
    host = compiled(_rule(http), **kwargs).virtual_host("80", f"{HOST}:80")
    routes: list[dict[str, Any]] = host["routes"]
    return routes


TO = "route: [{destination: {host: web}}]"


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ("uri: {prefix: /a}", {"prefix": "/a"}),
        ("uri: {exact: /a}, ignoreUriCase: true", {"path": "/a", "case_sensitive": False}),
        ("uri: {regex: '/a.*'}", {"safe_regex": {"regex": "/a.*"}}),
        (
            "method: {exact: GET}",
            {"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
        ),
        (
            "authority: {prefix: w}",
            {"prefix": "/", "headers": [{"name": ":authority", "string_match": {"prefix": "w"}}]},
        ),
        (
            "headers: {X-A: {exact: b}}",
            {"prefix": "/", "headers": [{"name": "x-a", "string_match": {"exact": "b"}}]},
        ),
        ("headers: {x: {}}", {"prefix": "/", "headers": [{"name": "x", "present_match": True}]}),
        ("headers: {x: {regex: '*'}}", {"prefix": "/", "headers": [{"name": "x", "present_match": True}]}),
        (
            "withoutHeaders: {x: {exact: a}}",
            {
                "prefix": "/",
                "headers": [
                    {
                        "name": "x",
                        "string_match": {"exact": "a"},
                        "invert_match": True,
                        "treat_missing_header_as_empty": True,
                    }
                ],
            },
        ),
        (
            "withoutHeaders: {x: {}}",
            {"prefix": "/", "headers": [{"name": "x", "present_match": True, "invert_match": True}]},
        ),
        (
            "queryParams: {q: {exact: ''}}",
            {"prefix": "/", "query_parameters": [{"name": "q", "string_match": {"exact": ""}}]},
        ),
        ("port: 80", {"prefix": "/"}),
        ("sourceLabels: {app: client}", {"prefix": "/"}),
        ("sourceNamespace: default", {"prefix": "/"}),
    ],
)
def test_matches(compiled: Any, match: str, expected: dict[str, Any]) -> None:
    assert _routes(compiled, f"[{{match: [{{{match}}}], {TO}}}]")[0]["match"] == expected


@pytest.mark.parametrize(
    "match",
    [
        "port: 81",
        "sourceLabels: {app: other}",
        "sourceNamespace: other",
        "gateways: [gw]",
    ],
)
def test_matches_that_can_never_hold_here_are_left_out(compiled: Any, match: str) -> None:
    routes = _routes(compiled, f"[{{name: never, match: [{{{match}}}], {TO}}}, {{name: last, {TO}}}]")
    assert [route["name"] for route in routes] == ["last"]


def test_nothing_follows_a_rule_that_takes_everything(compiled: Any) -> None:
    routes = _routes(compiled, f"[{{name: a, {TO}}}, {{name: b, {TO}}}]")
    assert [route["name"] for route in routes] == ["a"]


def test_each_match_is_a_route_named_after_both(compiled: Any) -> None:
    rule = f"[{{name: r, match: [{{name: a, uri: {{exact: /a}}}}, {{uri: {{exact: /b}}}}], {TO}}}]"
    assert [route["name"] for route in _routes(compiled, rule)] == ["r.a", "r"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("rewrite: {uri: /x}", {"prefix_rewrite": "/x"}),
        ("rewrite: {authority: x.y}", {"host_rewrite_literal": "x.y"}),
        (
            "rewrite: {uriRegexRewrite: {match: a, rewrite: b}}",
            {"regex_rewrite": {"pattern": {"regex": "a"}, "substitution": "b"}},
        ),
        ("headers: {request: {set: {Host: x.y}}}", {"host_rewrite_literal": "x.y"}),
        ("timeout: 1m30s", {"timeout": "90s"}),
        ("timeout: 1500ms", {"timeout": "1.500s"}),
        ("rewrite: {uri: /x, authority: x.y}", {"prefix_rewrite": "/x", "host_rewrite_literal": "x.y"}),
    ],
)
def test_actions(compiled: Any, rule: str, expected: dict[str, Any]) -> None:
    action = _routes(compiled, f"[{{{TO}, {rule}}}]")[0]["route"]
    assert {key: action[key] for key in expected} == expected


DEFAULT = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"


@pytest.mark.parametrize(
    ("retries", "expected"),
    [
        ("", {"retry_on": DEFAULT, "num_retries": 2, "host_selection_retry_max_attempts": "5"}),
        ("retries: {attempts: 0}", None),
        ("retries: {attempts: 3}", {"retry_on": DEFAULT, "num_retries": 3}),
        (
            "retries: {attempts: 1, retryOn: '503,5xx'}",
            {"retry_on": "5xx,retriable-status-codes", "retriable_status_codes": [503]},
        ),
        (
            "retries: {attempts: 1, perTryTimeout: 2s, backoff: 10ms}",
            {
                "per_try_timeout": "2s",
                "retry_back_off": {"base_interval": "0.010s", "max_interval": "0.100s"},
            },
        ),
    ],
)
def test_retries(compiled: Any, retries: str, expected: dict[str, Any] | None) -> None:
    rule = ", ".join(part for part in (TO, retries) if part)
    policy = _routes(compiled, f"[{{{rule}}}]")[0]["route"].get("retry_policy")
    assert (policy and expected and {key: policy[key] for key in expected}) == expected


def test_weights(compiled: Any) -> None:
    destinations = ", ".join(
        f"{{destination: {{host: web, subset: v{n}}}, weight: {w}}}" for n, w in ((1, 90), (2, 10), (3, 0))
    )
    (route,) = _routes(compiled, f"[{{route: [{destinations}]}}]")
    assert route["route"]["weighted_clusters"]["clusters"] == [
        {"name": f"outbound|80|v1|{HOST}", "weight": 90},
        {"name": f"outbound|80|v2|{HOST}", "weight": 10},
    ]


def test_headers_of_a_rule_and_of_a_destination(compiled: Any) -> None:
    rule = (
        "[{route: [{destination: {host: web}, headers: {response: {remove: [a]}}}],"
        " headers: {request: {set: {b: c, ':path': x}, add: {d: e}, remove: [f]}}}]"
    ).replace(", ':path': x", "")
    (route,) = _routes(compiled, rule)
    assert route["request_headers_to_add"] == [
        {"header": {"key": "b", "value": "c"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"},
        {"header": {"key": "d", "value": "e"}, "append_action": "APPEND_IF_EXISTS_OR_ADD"},
    ]
    assert route["request_headers_to_remove"] == ["f"]
    assert route["route"]["cluster"] == "outbound|80||web.default.svc.cluster.local"
    assert route["response_headers_to_remove"] == ["a"]  # the only destination's are the route's


@pytest.mark.parametrize(
    ("rule", "host"),
    [
        (f"{TO}, headers: {{request: {{set: {{Host: rule}}}}}}", "rule"),
        ("route: [{destination: {host: web}, headers: {request: {set: {':authority': own}}}}]", "own"),
        (
            "route: [{destination: {host: web}, headers: {request: {set: {Host: own}}}}], rewrite: {authority: rule}",
            "rule",
        ),
    ],
)
def test_who_has_the_last_word_on_the_host(compiled: Any, rule: str, host: str) -> None:
    (route,) = _routes(compiled, f"[{{{rule}}}]")
    assert route["route"]["host_rewrite_literal"] == host
    assert "request_headers_to_add" not in route


def test_several_destinations_keep_their_own_operations(compiled: Any) -> None:
    one = "{destination: {host: web}, weight: 1, headers: {request: {set: {Host: own, b: c, a: d}}}}"
    (route,) = _routes(
        compiled, f"[{{route: [{one}, {{destination: {{host: web, subset: v2}}, weight: 1}}]}}]"
    )
    first = route["route"]["weighted_clusters"]["clusters"][0]
    assert first["host_rewrite_literal"] == "own"
    assert [option["header"]["key"] for option in first["request_headers_to_add"]] == ["a", "b"]
    assert route["decorator"] == {"operation": "web:80/*"}  # the VirtualService's name


@pytest.mark.parametrize(
    ("rule", "port"),
    [
        ("port: 80", None), ("port: 443", 443), ("port: 443, scheme: https", None), ("port: 80, scheme: https", 80),
        ("derivePort: FROM_REQUEST_PORT", None), ("derivePort: FROM_REQUEST_PORT, scheme: https", 80),
        ("derivePort: FROM_PROTOCOL_DEFAULT", None), ("port: 8080", 8080),
    ],
)  # fmt: skip
def test_ports_of_redirects(compiled: Any, rule: str, port: int | None) -> None:
    (route,) = _routes(compiled, f"[{{redirect: {{authority: a.b, {rule}}}}}]")
    assert route["redirect"].get("port_redirect") == port


def test_a_virtual_service_with_no_rule_for_a_client_does_not_count(compiled: Any) -> None:
    (route,) = _routes(compiled, f"[{{name: never, match: [{{port: 81}}], {TO}}}]")
    assert route["name"] == "default"


def test_where_gateways_are_named_labels_are_not_looked_at(compiled: Any) -> None:
    (route,) = _routes(
        compiled, f"[{{name: a, match: [{{gateways: [mesh], sourceLabels: {{app: other}}}}], {TO}}}]"
    )
    assert route["name"] == "a"


def test_a_match_with_a_name_of_a_rule_without_one(compiled: Any) -> None:
    (route,) = _routes(compiled, f"[{{match: [{{name: m, statPrefix: s}}], {TO}}}]")
    assert (route["name"], route["stat_prefix"]) == (".m", "s")


def _manager(found: Any, listener: str) -> dict[str, Any]:
    config: dict[str, Any] = found.listeners[listener]["filter_chains"][0]["filters"][-1]["typed_config"]
    return config


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        ("NONE", (False, None, "KEEP_UNCHANGED")),
        ("DEFAULT", (True, None, "KEEP_UNCHANGED")),
        ("BASE", (True, None, "KEEP_UNCHANGED")),
        ("MERGE_SLASHES", (True, True, "KEEP_UNCHANGED")),
        ("DECODE_AND_MERGE_SLASHES", (True, True, "UNESCAPE_AND_FORWARD")),
    ],
)
def test_path_normalization(compiled: Any, normalization: Any, expected: object) -> None:
    mesh = MeshConfig.model_validate({"pathNormalization": {"normalization": normalization}})
    manager = _manager(compiled(mesh=mesh), "0.0.0.0_80")
    fields = ("normalize_path", "merge_slashes", "path_with_escaped_slashes_action")
    assert tuple(manager.get(field) for field in fields) == expected


def test_proxy_headers(compiled: Any) -> None:
    headers = {
        "preserveHttp1HeaderCase": {"enabled": True},
        "xForwardedHost": {"enabled": True},
        "xForwardedPort": {"enabled": True},
        "requestId": {"disabled": True},
        "attemptCount": {"disabled": True},
        "server": {"disabled": True},
    }
    mesh = MeshConfig.model_validate({"defaultConfig": {"proxyHeaders": headers}})
    found = compiled(_rule(f"[{{{TO}, rewrite: {{authority: a.b}}}}]"), mesh=mesh)
    manager = _manager(found, "0.0.0.0_80")
    kept = manager["http_protocol_options"]["header_key_format"]["stateful_formatter"]["name"]
    assert (kept, manager["generate_request_id"]) == ("preserve_case", False)
    assert manager["server_header_transformation"] == "PASS_THROUGH"
    assert manager["append_x_forwarded_port"] is True
    (options,) = found.clusters[f"outbound|80||{HOST}"]["typed_extension_protocol_options"].values()
    http1 = options["explicit_http_config"]["http_protocol_options"]
    assert http1 == manager["http_protocol_options"]
    host = found.virtual_host("80", f"{HOST}:80")
    assert host["routes"][0]["route"]["append_x_forwarded_host"] is True
    assert "include_request_attempt_count" not in host


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("redirect: {uri: /x}", {"redirect": {"path_redirect": "/x"}}),
        (
            "redirect: {authority: a.b, redirectCode: 308, port: 8443, scheme: https}",
            {
                "redirect": {
                    "response_code": "PERMANENT_REDIRECT",
                    "host_redirect": "a.b",
                    "scheme_redirect": "https",
                    "port_redirect": 8443,
                }
            },
        ),
        ("directResponse: {status: 404}", {"direct_response": {"status": 404}}),
        (
            "directResponse: {status: 200, body: {bytes: aGk=}}",
            {"direct_response": {"status": 200, "body": {"inline_bytes": "aGk="}}},
        ),
    ],
)
def test_answers_without_an_upstream(compiled: Any, rule: str, expected: dict[str, Any]) -> None:
    (route,) = _routes(compiled, f"[{{{rule}}}]")
    assert {key: route[key] for key in expected} == expected


def test_a_service_without_rules(compiled: Any) -> None:
    host = compiled().virtual_host("80", f"{HOST}:80")
    assert host["domains"] == [HOST, f"{HOST}.", "web.default.svc", "web.default", "web", "10.96.0.1"]
    (route,) = host["routes"]
    assert (route["name"], route["route"]["cluster"]) == ("default", f"outbound|80||{HOST}")
    assert route["decorator"] == {"operation": f"{HOST}:80/*"}


def test_hosts_nobody_knows(compiled: Any) -> None:
    assert compiled().virtual_host("80", "allow_any")["routes"][0]["route"]["cluster"] == "PassthroughCluster"
    strict = MeshConfig(outboundTrafficPolicy=OutboundTrafficPolicy(mode="REGISTRY_ONLY"))
    found = compiled(mesh=strict)
    assert found.virtual_host("80", "block_all")["routes"][0]["direct_response"] == {"status": 502}
    chains = found.listeners["virtualOutbound"]["filter_chains"]
    assert chains[-1]["filters"][-1]["typed_config"]["cluster"] == "BlackHoleCluster"


def test_a_host_without_a_service_is_on_port_80_only(compiled: Any) -> None:
    external = _rule(f"[{{{TO}}}]").replace("hosts: [web]", "hosts: [example.com]")
    found = compiled(external)
    assert found.virtual_host("80", "example.com:80")["domains"] == ["example.com"]


def test_a_sniffed_port_has_a_table_of_its_own(compiled: Any) -> None:
    service = """
apiVersion: v1
kind: Service
metadata: {name: any}
spec: {selector: {app: web}, ports: [{name: foo, port: 7000}]}
"""
    found = compiled(service)
    name = "any.default.svc.cluster.local:7000"
    (host,) = found.routes[name]["virtual_hosts"]
    assert (host["name"], host["domains"]) == (name, ["*"])
    listener = found.listeners["10.96.0.2_7000"]
    assert listener["default_filter_chain"]["filters"][-1]["typed_config"]["cluster"].startswith(
        "outbound|7000"
    )
    assert listener["bind_to_port"] is False


GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*.example.com"]}
  - {port: {number: 81, name: redirect, protocol: HTTP}, hosts: [safe.example.com], tls: {httpsRedirect: true}}
"""


def test_a_gateway(compiled: Any) -> None:
    extra = "  gateways: [gw]\n"
    rule = _rule(f"[{{match: [{{uri: {{exact: /a}}}}], {TO}}}]", extra).replace(
        "[web]", '["a.example.com", "b.org"]'
    )
    found = compiled(GATEWAY + "---" + rule, "gateway", kind="router")
    assert set(found.listeners) == {"0.0.0.0_80", "0.0.0.0_81"}
    (host,) = found.routes["http.80"]["virtual_hosts"]
    assert (host["name"], host["domains"]) == ("a.example.com:80", ["a.example.com"])
    assert host["routes"][0]["route"]["cluster"] == f"outbound|80||{HOST}"
    (redirect,) = found.routes["http.81"]["virtual_hosts"]
    assert (redirect["name"], redirect["require_tls"]) == ("safe.example.com:81", "ALL")
    manager = found.listeners["0.0.0.0_80"]["filter_chains"][0]["filters"][-1]["typed_config"]
    assert (manager["use_remote_address"], manager["forward_client_cert_details"]) == (True, "SANITIZE_SET")


def test_rules_of_several_virtual_services_follow_each_other_at_a_gateway(compiled: Any) -> None:
    """The oldest first, but what takes everything goes last; one without a rule for the gateway adds nothing."""
    extra = "  gateways: [gw]\n"
    rules = [
        f"[{{name: first, match: [{{uri: {{prefix: /1}}}}], {TO}}}, {{name: all, {TO}}}]",
        f"[{{name: second, match: [{{uri: {{prefix: /2}}}}], {TO}}}]",
        f"[{{name: never, match: [{{port: 9999}}], {TO}}}]",
    ]
    texts = [
        _rule(http, extra).replace("name: web}", f"name: web-{n}}}", 1).replace("[web]", "[a.example.com]")
        for n, http in enumerate(rules)
    ]
    found = compiled("---".join([GATEWAY, *texts]), "gateway", kind="router")
    (host,) = found.routes["http.80"]["virtual_hosts"]
    assert [route["name"] for route in host["routes"]] == ["first", "second", "all"]


def test_redirects_at_a_tls_server_leave_out_the_port_of_https(compiled: Any) -> None:
    rule = _rule("[{redirect: {uri: /x, port: 443}}]", "  gateways: [gw]\n").replace("[web]", "[a.org]")
    found = compiled(HTTPS + "---" + rule, "gateway", kind="router")
    (host,) = found.routes["https.443.a.gw.default"]["virtual_hosts"]
    assert host["routes"][0]["redirect"] == {"path_redirect": "/x"}


def test_a_gateway_without_rules_answers_404(compiled: Any) -> None:
    found = compiled(GATEWAY, "gateway", kind="router")
    assert found.routes["http.80"]["virtual_hosts"] == [{"name": "blackhole:80", "domains": ["*"]}]


HTTPS = """
apiVersion: v1
kind: Secret
metadata: {name: cert}
data: {tls.crt: Y2VydA==, tls.key: a2V5, ca.crt: Y2E=}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.org], tls: {mode: MUTUAL, credentialName: cert}}
  - {port: {number: 443, name: b, protocol: HTTPS}, hosts: [b.org], tls: {mode: ISTIO_MUTUAL}}
  - {port: {number: 443, name: c, protocol: HTTPS}, hosts: [c.org], tls: {mode: SIMPLE, credentialName: gone}}
"""


def test_tls_at_a_gateway(compiled: Any) -> None:
    found = compiled(HTTPS, "gateway", kind="router")
    mutual, mesh = found.listeners["0.0.0.0_443"]["filter_chains"]
    assert mutual["filter_chain_match"] == {"server_names": ["a.org"]}
    socket = mutual["transport_socket"]["typed_config"]
    assert socket["require_client_certificate"]
    common = socket["common_tls_context"]
    assert common["tls_certificates"][0]["private_key"] == {"inline_string": "key"}
    assert common["validation_context"] == {"trusted_ca": {"inline_string": "ca"}}
    assert (
        "tls_certificate_sds_secret_configs" in mesh["transport_socket"]["typed_config"]["common_tls_context"]
    )
    assert set(found.routes) == {"https.443.a.gw.default", "https.443.b.gw.default", "https.443.c.gw.default"}
