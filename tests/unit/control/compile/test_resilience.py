"""Outlier detection, pools and TLS of a DestinationRule, as Istio's pilot writes them."""

from __future__ import annotations

from typing import Any

import pytest

CLUSTER = "outbound|80||web.default.svc.cluster.local"
DB = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {selector: {app: web}, ports: [{name: tcp, port: 5432}]}
---
"""


def _rule(policy: str, host: str = "web") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host}}}
spec: {{host: {host}, trafficPolicy: {policy}}}
---
"""


def _options(cluster: Any) -> Any:
    (options,) = cluster["typed_extension_protocol_options"].values()
    return options


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("{}", {}),
        ("{consecutiveErrors: 7}", {}),
        (
            "{consecutive5xxErrors: 3, interval: 1s, baseEjectionTime: 3m, maxEjectionPercent: 100}",
            {
                "consecutive_5xx": 3,
                "enforcing_consecutive_5xx": 100,
                "interval": "1s",
                "base_ejection_time": "180s",
                "max_ejection_percent": 100,
            },
        ),
        ("{consecutive5xxErrors: 0}", {"consecutive_5xx": 0, "enforcing_consecutive_5xx": 0}),
        (
            "{consecutiveGatewayErrors: 2}",
            {"consecutive_gateway_failure": 2, "enforcing_consecutive_gateway_failure": 100},
        ),
        (
            "{consecutiveGatewayErrors: 0}",
            {"consecutive_gateway_failure": 0, "enforcing_consecutive_gateway_failure": 0},
        ),
        (
            "{splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 4}",
            {
                "split_external_local_origin_errors": True,
                "consecutive_local_origin_failure": 4,
                "enforcing_consecutive_local_origin_failure": 100,
                "enforcing_local_origin_success_rate": 0,
            },
        ),
        (
            "{splitExternalLocalOriginErrors: true}",
            {"split_external_local_origin_errors": True, "enforcing_local_origin_success_rate": 0},
        ),
    ],
)
def test_outlier_detection(compiled: Any, given: str, wanted: dict[str, Any]) -> None:
    cluster = compiled(_rule(f"{{outlierDetection: {given}}}")).clusters[CLUSTER]
    assert cluster["outlier_detection"] == {"enforcing_success_rate": 0, **wanted}


def test_it_is_the_callers_not_the_servers(compiled: Any) -> None:
    rule = _rule("{outlierDetection: {}, tls: {mode: SIMPLE}}")
    inbound = compiled(rule, "web-v1").clusters["inbound|8080||"]
    assert "outlier_detection" not in inbound
    assert "typed_extension_protocol_options" not in inbound
    assert "outlier_detection" not in compiled().clusters[CLUSTER]


def test_a_ports_own_settings_replace_it(compiled: Any) -> None:
    ports = "[{port: {number: 80}, outlierDetection: {interval: 2s}}]"
    rule = _rule(f"{{outlierDetection: {{interval: 1s}}, portLevelSettings: {ports}}}")
    assert compiled(rule).clusters[CLUSTER]["outlier_detection"]["interval"] == "2s"


@pytest.mark.parametrize(
    ("codes", "wanted"),
    [
        ("[429]", {"http_response_headers_match": {"headers": [{"name": ":status", "string_match": {"exact": "429"}}]}}),
        (
            "[500, 502]",
            {
                "or_match": {
                    "rules": [
                        {"http_response_headers_match": {"headers": [{"name": ":status", "string_match": {"exact": code}}]}}
                        for code in ("500", "502")
                    ]
                }
            },
        ),
    ],
)  # fmt: skip
def test_codes_that_count_as_errors(compiled: Any, codes: str, wanted: Any) -> None:
    cluster = compiled(_rule(f"{{outlierDetection: {{outlierDetectionHttpErrorCodes: {codes}}}}}")).clusters[
        CLUSTER
    ]
    assert _options(cluster)["outlier_detection"] == {"error_matcher": wanted}


def test_all_of_the_pool(compiled: Any) -> None:
    pool = """{connectionPool: {tcp: {maxConnections: 4, connectTimeout: 1s, idleTimeout: 5s, maxConnectionDuration: 9s,
      tcpKeepalive: {probes: 3, time: 60s, interval: 7s}},
      http: {http1MaxPendingRequests: 1, http2MaxRequests: 2, maxRetries: 3, maxRequestsPerConnection: 6}}}"""
    cluster = compiled(_rule(pool)).clusters[CLUSTER]
    assert cluster["circuit_breakers"]["thresholds"] == [
        {"max_connections": 4, "max_pending_requests": 1, "max_requests": 2, "max_retries": 3}
    ]
    assert cluster["upstream_connection_options"] == {
        "tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 60, "keepalive_interval": 7}
    }
    assert _options(cluster)["common_http_protocol_options"] == {
        "idle_timeout": "5s",
        "max_requests_per_connection": 6,
        "max_connection_duration": "9s",
    }


def test_opaque_connections_end_with_their_times(compiled: Any) -> None:
    pool = "{connectionPool: {tcp: {idleTimeout: 5s, maxConnectionDuration: 9s}}}"

    def proxy(text: str) -> Any:
        listener = compiled(DB + _rule(pool, "db") + text).listeners["10.96.0.2_5432"]
        chain = listener.get("default_filter_chain") or listener["filter_chains"][-1]
        return chain["filters"][-1]["typed_config"]

    times = {"idle_timeout": "5s", "max_downstream_connection_duration": "9s"}
    assert times.items() <= proxy("").items()
    routed = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db}
spec: {hosts: [db], tcp: [{route: [{destination: {host: db}}]}]}
"""
    assert times.items() <= proxy(routed).items()


@pytest.mark.parametrize(
    ("tls", "automatic", "sni", "verified"),
    [
        ("{mode: SIMPLE}", {"auto_sni": True, "auto_san_validation": True}, None, True),
        ("{mode: SIMPLE, sni: a.test}", None, "a.test", True),
        ("{mode: SIMPLE, subjectAltNames: [b.test]}", {"auto_sni": True}, None, True),
        ("{mode: SIMPLE, insecureSkipVerify: true}", {"auto_sni": True}, None, False),
        ("{mode: SIMPLE, caCertificates: /ca.pem}", {"auto_sni": True, "auto_san_validation": True}, None, True),
        (
            "{mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem}",
            {"auto_sni": True, "auto_san_validation": True},
            None,
            True,
        ),
    ],
)  # fmt: skip
def test_names_of_a_tls_server(
    compiled: Any, tls: str, automatic: Any, sni: str | None, verified: bool
) -> None:
    cluster = compiled(_rule(f"{{tls: {tls}}}")).clusters[CLUSTER]
    names = (
        _options(cluster)["upstream_http_protocol_options"]
        if "typed_extension_protocol_options" in cluster
        else None
    )
    typed = cluster["transport_socket"]["typed_config"]
    assert (names, typed.get("sni")) == (automatic, sni)
    assert ("validation_context" in typed["common_tls_context"]) == verified
