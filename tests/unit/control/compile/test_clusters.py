"""Clusters: policies, mutual TLS, endpoints."""

from __future__ import annotations

from typing import Any

import pytest

from control.mesh_config import MeshConfig

HOST = "web.default.svc.cluster.local"
BASE, V1 = f"outbound|80||{HOST}", f"outbound|80|v1|{HOST}"


def _rule(policy: str = "", subsets: str = "") -> str:
    parts = ["host: web"]
    if policy:
        parts.append(f"trafficPolicy: {policy}")
    if subsets:
        parts.append(f"subsets: {subsets}")
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web}}
spec: {{{", ".join(parts)}}}
"""


def _sockets(cluster: dict[str, Any]) -> str:
    if "transport_socket_matches" in cluster:
        return "auto"
    socket = cluster.get("transport_socket")
    return socket["typed_config"]["sni"] if socket else "plaintext"


def test_auto_mtls(compiled: Any) -> None:
    cluster = compiled().clusters[BASE]
    mesh, plain = cluster["transport_socket_matches"]
    assert (mesh["name"], mesh["match"]) == ("tlsMode-istio", {"tlsMode": "istio"})
    assert (plain["name"], plain["match"]) == ("tlsMode-disabled", {})
    context = mesh["transport_socket"]["typed_config"]
    assert context["sni"] == f"outbound_.80_._.{HOST}"
    sans = context["common_tls_context"]["combined_validation_context"]["default_validation_context"]
    assert sans["match_typed_subject_alt_names"] == [
        {"san_type": "URI", "matcher": {"exact": "spiffe://cluster.local/ns/default/sa/web"}}
    ]


def _disabled(scope: str) -> str:
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default, namespace: {scope}}}
spec: {{mtls: {{mode: DISABLE}}}}
"""


@pytest.mark.parametrize(
    ("text", "mesh", "expected"),
    [
        ("", MeshConfig(), "auto"),
        ("", MeshConfig(enableAutoMtls=False), "plaintext"),
        (_disabled("istio-system"), MeshConfig(), "plaintext"),
        (_disabled("default"), MeshConfig(), "plaintext"),
        (_disabled("other"), MeshConfig(), "auto"),
        (_rule("{loadBalancer: {simple: RANDOM}}"), MeshConfig(), "auto"),
        (_rule("{tls: {mode: DISABLE}}"), MeshConfig(), "plaintext"),
        (_rule("{tls: {mode: ISTIO_MUTUAL}}"), MeshConfig(), f"outbound_.80_._.{HOST}"),
        (_rule("{tls: {mode: ISTIO_MUTUAL, sni: x}}"), MeshConfig(), "x"),
        (_rule("{tls: {mode: SIMPLE, sni: y}}"), MeshConfig(), "y"),
    ],
)
def test_how_a_client_calls(compiled: Any, text: str, mesh: MeshConfig, expected: str) -> None:
    sockets = _sockets(compiled(text, mesh=mesh).clusters[BASE])
    assert sockets == expected


@pytest.mark.parametrize(
    ("rule", "base", "subset"),
    [
        (_rule("", "[{name: v1}]"), "LEAST_REQUEST", "LEAST_REQUEST"),
        (_rule("{loadBalancer: {simple: RANDOM}}", "[{name: v1}]"), "RANDOM", "RANDOM"),
        (
            _rule(
                "{loadBalancer: {simple: RANDOM}}",
                "[{name: v1, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}]",
            ),
            "RANDOM",
            "ROUND_ROBIN",
        ),
        (
            _rule(
                "{loadBalancer: {simple: RANDOM}, portLevelSettings: [{port: {number: 80}, connectionPool: {tcp: {}}}]}",
                "[{name: v1}]",
            ),
            "LEAST_REQUEST",
            "LEAST_REQUEST",
        ),
        (_rule("{loadBalancer: {simple: LEAST_CONN}}", "[{name: v1}]"), "LEAST_REQUEST", "LEAST_REQUEST"),
        (
            _rule("{loadBalancer: {simple: PASSTHROUGH}}", "[{name: v1}]"),
            "CLUSTER_PROVIDED",
            "CLUSTER_PROVIDED",
        ),
    ],
)
def test_which_policy_holds(compiled: Any, rule: str, base: str, subset: str) -> None:
    clusters = compiled(rule).clusters
    assert (clusters[BASE]["lb_policy"], clusters[V1]["lb_policy"]) == (base, subset)


def test_the_pool(compiled: Any) -> None:
    pool = (
        "{connectionPool: {tcp: {maxConnections: 1, connectTimeout: 250ms}, "
        "http: {http1MaxPendingRequests: 2, maxRequestsPerConnection: 3, idleTimeout: 4s}}}"
    )
    cluster = compiled(_rule(pool)).clusters[BASE]
    assert cluster["connect_timeout"] == "0.250s"
    assert cluster["circuit_breakers"]["thresholds"] == [
        {
            "max_connections": 1,
            "max_pending_requests": 2,
            "max_requests": 2**32 - 1,
            "max_retries": 2**32 - 1,
        }
    ]
    (options,) = cluster["typed_extension_protocol_options"].values()
    assert options["common_http_protocol_options"] == {
        "idle_timeout": "4s",
        "max_requests_per_connection": 3,
    }
    inbound = compiled(_rule(pool), "web-v1").clusters["inbound|8080||"]
    assert inbound["circuit_breakers"]["thresholds"][0]["max_connections"] == 1


def test_endpoints_of_a_subset(compiled: Any) -> None:
    subsets = "[{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]"
    found = compiled(_rule("", subsets))
    (group,) = found.endpoints[V1]["endpoints"]
    (endpoint,) = group["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "10.244.0.1", "port_value": 8080}
    assert endpoint["metadata"]["filter_metadata"] == {
        "istio": {"workload": "web-v1;default;web;v1;Kubernetes"},
        "envoy.transport_socket_match": {"tlsMode": "istio"},
    }
    assert "endpoints" not in found.endpoints[f"outbound|80|v2|{HOST}"]
    metadata = found.clusters[V1]["metadata"]["filter_metadata"]["istio"]
    assert metadata["config"] == "/apis/networking.istio.io/v1/namespaces/default/destination-rule/web"
    assert metadata["subset"] == "v1"


def test_a_headless_service_goes_where_the_caller_chose(compiled: Any) -> None:
    service = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: tcp, port: 5432}]}
"""
    found = compiled(service)
    cluster = found.clusters["outbound|5432||db.default.svc.cluster.local"]
    assert (cluster["type"], _sockets(cluster)) == (
        "ORIGINAL_DST",
        "outbound_.5432_._.db.default.svc.cluster.local",
    )
    assert "10.244.0.1_5432" in found.listeners


def test_vanilla_envoy_gets_what_it_can_read(compiled: Any) -> None:
    def filters(vanilla: bool) -> list[str]:
        chain = compiled(vanilla=vanilla).listeners["0.0.0.0_80"]["filter_chains"][0]
        return [
            one["typed_config"]["@type"].rpartition("/")[2]
            for one in chain["filters"][-1]["typed_config"]["http_filters"]
        ]

    assert filters(vanilla=True) == [
        "envoy.extensions.filters.http.set_filter_state.v3.Config",
        "envoy.extensions.filters.http.fault.v3.HTTPFault",
        "envoy.extensions.filters.http.cors.v3.Cors",
        "envoy.extensions.filters.http.router.v3.Router",
    ]
    assert filters(vanilla=False) == [
        "io.istio.http.peer_metadata.Config",
        "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
        "envoy.extensions.filters.http.fault.v3.HTTPFault",
        "envoy.extensions.filters.http.cors.v3.Cors",
        "udpa.type.v1.TypedStruct",
        "envoy.extensions.filters.http.router.v3.Router",
    ]


def test_tcp_rules(compiled: Any) -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: web}, ports: [{name: tcp, port: 5432}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db}
spec:
  hosts: [db]
  tls:
  - {match: [{sniHosts: [db]}], route: [{destination: {host: web}}]}
  tcp:
  - {match: [{port: 1}], route: [{destination: {host: web}}]}
  - route: [{destination: {host: db}, weight: 1}, {destination: {host: web}, weight: 3}]
"""
    listener = compiled(text).listeners["10.96.0.2_5432"]
    (sni,) = listener["filter_chains"]
    assert sni["filter_chain_match"] == {"server_names": ["db"]}
    assert listener["listener_filters"][0]["name"].endswith("tls_inspector")
    weights = listener["default_filter_chain"]["filters"][-1]["typed_config"]["weighted_clusters"]["clusters"]
    assert [(one["name"].rpartition("|")[2].partition(".")[0], one["weight"]) for one in weights] == [
        ("db", 1),
        ("web", 3),
    ]
