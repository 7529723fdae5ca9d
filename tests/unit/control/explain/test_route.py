"""The way of a request, told from manifests: each step, and each reason why not."""

from __future__ import annotations

from typing import Any

import pytest

from control.explain.request import BadRequest, parse
from control.explain.resources import compiled
from control.explain.route import Explanation, Mesh, explain
from control.mesh_config import MeshConfig
from control.push.manifests import context_of, read
from control.push.proxy import Proxy

HOST = "web.default.svc.cluster.local"
BASE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: auto, port: 90}, {name: tcp, port: 99}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v1}
spec: {template: {metadata: {labels: {app: web, version: v1}}, spec: {containers: []}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec: {template: {metadata: {labels: {app: client}}, spec: {containers: []}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - {name: theirs, match: [{sourceLabels: {app: other}}], route: [{destination: {host: web}}]}
  - name: first
    match: [{name: m, uri: {prefix: /api/}, headers: {x-user: {exact: ann}}}]
    rewrite: {uri: /v2/, authority: new.test}
    timeout: 2s
    route: [{destination: {host: web, subset: v1}, weight: 75}, {destination: {host: web, subset: v2}, weight: 25}]
  - {match: [{uri: {exact: /moved}}], redirect: {uri: /there}}
  - {match: [{uri: {exact: /fixed}}], directResponse: {status: 418, body: {string: tea}}}
  - {match: [{uri: {prefix: /gone}}], route: [{destination: {host: web, subset: v9}}]}
  - {match: [{method: {regex: "GET|HEAD"}}], route: [{destination: {host: web}}]}
"""


def ask(method: str, url: str, *headers: str, mesh: MeshConfig | None = None, more: str = "") -> Explanation:
    context = context_of(read(BASE + more), mesh)
    client = context.by_name["default", "client"]
    proxy = Proxy("sidecar~", "sidecar", client.ip, "client", "default", client.labels, "x", False, {})
    addresses = {service.hostname: service.address or "" for service in context.services}
    known = Mesh(addresses, context.mesh.clusterDomain, context.virtual_services)
    return explain(compiled(context, proxy), known, proxy, parse(method, url, headers))


def test_every_step_of_a_forwarded_request() -> None:
    found = ask("GET", "http://web/api/x?q=1", "X-User: ann")
    assert (found.address, found.listener, found.route_table) == ("10.96.0.1", "0.0.0.0_80", "80")
    assert (found.virtual_host, found.domain) == (f"{HOST}:80", "web")
    assert (found.route, found.route_number, found.rule) == ("first.m", 0, "http[1].match[0]")
    assert found.virtual_service == "default/web"
    assert found.matched == ["path starts with /api/", "header x-user is ann"]
    assert found.does[:2] == ["path becomes /v2/x?q=1", "host becomes new.test"]
    assert "timeout 2s" in found.does
    first, second = found.destinations
    assert (first.subset, first.share, [one.workload for one in first.endpoints]) == ("v1", 0.75, ["web-v1"])
    assert (second.subset, second.share) == ("v2", 0.25)
    assert second.outcome.startswith("503 UH")


def test_why_each_earlier_rule_was_passed_over() -> None:
    found = ask("GET", "http://web.default:80/api/x")
    assert [(one.number, one.rule, one.why) for one in found.passed_over] == [
        (None, "http[0].match[0]", "is for clients with labels app=other"),
        (0, "http[1].match[0]", "header x-user is ann"),
        (1, "http[2].match[0]", "path is /moved"),
        (2, "http[3].match[0]", "path is /fixed"),
        (3, "http[4].match[0]", "path starts with /gone"),
    ]
    assert found.rule == "http[5].match[0]"


@pytest.mark.parametrize(
    ("method", "url", "outcome"),
    [
        ("GET", "http://web/moved?a=b", "301 to http://web/there?a=b"),
        ("GET", "http://web/fixed", "418, a body of 3 bytes"),
        ("POST", "http://web/", "404 NR, route_not_found: the virtual host has no route for it"),
        ("CONNECT", "http://web/", "404 NR, route_not_found: no route takes CONNECT"),
        ("GET", "http://web/a%00", "400: the path cannot be normalized (path_normalization_failed)"),
    ],
)
def test_what_the_proxy_answers_itself(method: str, url: str, outcome: str) -> None:
    assert ask(method, url).outcome == outcome


def test_a_subset_nobody_defined() -> None:
    (destination,) = ask("GET", "http://web/gone").destinations
    assert destination.outcome.startswith("503 NC")


def test_the_path_is_normalized_first() -> None:
    mesh = MeshConfig.model_validate({"pathNormalization": {"normalization": "DECODE_AND_MERGE_SLASHES"}})
    found = ask("GET", "http://web/x/..//%2fmoved", mesh=mesh)
    assert found.outcome == "301 to http://web/there"
    assert found.notes == ["the path is normalized to /moved"]


@pytest.mark.parametrize(
    ("url", "mode", "listener", "route", "to", "outcome"),
    [
        ("http://nobody.test/", "ALLOW_ANY", "0.0.0.0_80", "allow_any", "PassthroughCluster", ""),
        ("http://nobody.test/", "REGISTRY_ONLY", "0.0.0.0_80", "block_all", "", "502, no body"),
        ("http://nobody.test:8081/", "ALLOW_ANY", "virtualOutbound", "", "PassthroughCluster", ""),
        (
            "https://nobody.test/",
            "REGISTRY_ONLY",
            "virtualOutbound",
            "",
            "BlackHoleCluster",
            "connection closed",
        ),
        ("http://web:90/", "ALLOW_ANY", "10.96.0.1_90", "first", f"outbound|90||{HOST}", ""),
        ("http://web:99/", "ALLOW_ANY", "10.96.0.1_99", "", f"outbound|99||{HOST}", ""),
        ("http://10.96.0.1/", "ALLOW_ANY", "0.0.0.0_80", "any", f"outbound|80||{HOST}", ""),
    ],
)
def test_where_connections_go(url: str, mode: Any, listener: str, route: str, to: str, outcome: str) -> None:
    found = ask("GET", url, mesh=MeshConfig.model_validate({"outboundTrafficPolicy": {"mode": mode}}))
    assert found.listener == listener
    assert [one.cluster for one in found.destinations][:1] == ([to] if to else [])
    assert found.outcome.startswith(outcome)
    if route in ("allow_any", "block_all"):
        assert found.route == route
        assert mode in found.notes[-1]


def test_a_virtual_service_without_a_rule_for_this_client() -> None:
    only = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, creationTimestamp: "2020-01-01T00:00:00Z"}
spec: {hosts: [web.default.svc.cluster.local], http: [{match: [{sourceNamespace: away}], route: [{destination: {host: web}}]}]}
"""
    found = ask("GET", "http://web/", more=only.replace("name: web,", "name: older,"))
    assert found.route == "default"
    assert [(one.rule, one.why) for one in found.passed_over] == [
        ("http[0].match[0]", "is for clients in namespace away")
    ]


GATEWAY = """
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  selector: {app: client}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.test], tls: {httpsRedirect: true}}
  - {port: {number: 8000, name: http2, protocol: HTTP}, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec: {hosts: [shop.test], gateways: [gw], http: [{route: [{destination: {host: web}}]}]}
"""


@pytest.mark.parametrize(
    ("url", "virtual_host", "outcome"),
    [
        ("http://shop.test:8000/x", "shop.test:8000", ""),
        ("http://shop.test/x", "shop.test:80", "301 to https://shop.test/x: the server redirects to https"),
        ("http://other.test:8000/", "", "404 NR: no virtual host is for other.test:8000"),
        ("http://shop.test:81/", "", "the gateway does not listen on port 81; its ports: 80, 8000"),
    ],
)
def test_requests_that_reach_a_gateway(url: str, virtual_host: str, outcome: str) -> None:
    context = context_of(read(BASE + GATEWAY))
    client = context.by_name["default", "client"]
    proxy = Proxy("router~", "router", client.ip, "client", "default", client.labels, "x", False, {})
    found = explain(compiled(context, proxy), Mesh({}), proxy, parse("GET", url, ()))
    assert (found.virtual_host, found.outcome) == (virtual_host, outcome)


@pytest.mark.parametrize(
    ("url", "headers", "why"),
    [
        ("ftp://x/", (), "the scheme is http or https"),
        ("http://", (), "names no host"),
        ("http://x:99999/", (), "Port out of range"),
        ("http://x/", ("nonsense",), "is not NAME: VALUE"),
    ],
)
def test_requests_that_cannot_be_read(url: str, headers: tuple[str, ...], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        parse("GET", url, headers)
