"""The inbound table: mutual TLS mode × protocol of the port."""

from __future__ import annotations

from typing import Any

import pytest

MESH_HTTP = "istio-http/1.0,istio-http/1.1"
MESH_TCP = "istio-peer-exchange,istio,istio-h2"
MESH = "istio-peer-exchange,istio,istio-http/1.0,istio-http/1.1,istio-h2"


def _mesh(mode: str, port_name: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: extra}}
spec: {{selector: {{app: web}}, ports: [{{name: {port_name}, port: 90, targetPort: 9090}}]}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default}}
spec: {{mtls: {{mode: {mode}}}}}
"""


def _chains(listener: dict[str, Any], port: int) -> list[tuple[str, str, str, str]]:
    """Transport, ALPN, whether TLS ends here, and how the bytes are read."""
    found = []
    for chain in listener["filter_chains"]:
        match = chain["filter_chain_match"]
        if match.get("destination_port") == port:
            kind = "http" if "http_connection_manager" in chain["filters"][-1]["name"] else "tcp"
            ends = "ends" if "transport_socket" in chain else "-"
            alpn = ",".join(match.get("application_protocols", []))
            found.append((match["transport_protocol"], alpn, ends, kind))
    return found


@pytest.mark.parametrize(
    ("mode", "port_name", "chains"),
    [
        ("STRICT", "auto", [("tls", MESH_HTTP, "ends", "http"), ("tls", "", "ends", "tcp")]),
        ("STRICT", "http", [("tls", "", "ends", "http")]),
        ("STRICT", "tcp", [("tls", "", "ends", "tcp")]),
        (
            "PERMISSIVE",
            "auto",
            [
                ("tls", MESH_HTTP, "ends", "http"),
                ("raw_buffer", "http/1.1", "-", "http"),
                ("tls", MESH_TCP, "ends", "tcp"),
                ("raw_buffer", "", "-", "tcp"),
                ("tls", "", "-", "tcp"),
            ],
        ),
        ("PERMISSIVE", "http", [("tls", MESH, "ends", "http"), ("raw_buffer", "", "-", "http")]),
        (
            "PERMISSIVE",
            "tcp",
            [("tls", MESH, "ends", "tcp"), ("tls", "", "-", "tcp"), ("raw_buffer", "", "-", "tcp")],
        ),
        (
            "DISABLE",
            "auto",
            [
                ("raw_buffer", "http/1.1", "-", "http"),
                ("raw_buffer", "", "-", "tcp"),
                ("tls", "", "-", "tcp"),
            ],
        ),
        ("DISABLE", "http", [("raw_buffer", "", "-", "http")]),
        ("DISABLE", "tcp", [("raw_buffer", "", "-", "tcp"), ("tls", "", "-", "tcp")]),
        ("PERMISSIVE", "grpc", None),
    ],
)
def test_chains_of_a_port(
    compiled: Any, mode: str, port_name: str, chains: list[tuple[str, str, str, str]] | None
) -> None:
    listener = compiled(_mesh(mode, port_name), "web-v1").listeners["virtualInbound"]
    expected = chains or _chains(
        compiled(_mesh(mode, "tcp"), "web-v1").listeners["virtualInbound"], 9090
    )  # gRPC is bytes for now
    assert _chains(listener, 9090) == expected


def test_the_shape_of_virtual_inbound(compiled: Any) -> None:
    listener = compiled(_mesh("STRICT", "tcp"), "web-v1").listeners["virtualInbound"]
    assert [one["name"].rpartition(".")[2] for one in listener["listener_filters"]] == [
        "original_dst",
        "tls_inspector",
        "http_inspector",
    ]
    assert listener["listener_filters"][2]["filter_disabled"] == {
        "destination_port_range": {"start": 9090, "end": 9091}
    }
    chains = listener["filter_chains"]
    assert chains[0]["name"] == "virtualInbound-blackhole"
    assert chains[0]["filter_chain_match"] == {"destination_port": 15006}
    assert chains[0]["filters"][-1]["typed_config"]["cluster"] == "BlackHoleCluster"
    names = {chain["name"] for chain in chains[1:]}
    assert names == {"0.0.0.0_8080", "0.0.0.0_9090", "virtualInbound", "virtualInbound-catchall-http"}
    for chain in chains[1:]:
        tls = chain["transport_socket"]["typed_config"]
        assert tls["require_client_certificate"]
        sans = tls["common_tls_context"]["combined_validation_context"]["default_validation_context"]
        assert sans["match_typed_subject_alt_names"] == [
            {"san_type": "URI", "matcher": {"prefix": "spiffe://cluster.local/"}}
        ]


def test_an_inbound_http_chain(compiled: Any) -> None:
    listener = compiled("", "web-v1").listeners["virtualInbound"]
    chain = next(chain for chain in listener["filter_chains"] if chain["name"] == "0.0.0.0_8080")
    manager = chain["filters"][-1]["typed_config"]
    assert manager["stat_prefix"] == "inbound_0.0.0.0_8080"
    assert manager["server_name"] == "istio-envoy"
    assert manager["forward_client_cert_details"] == "APPEND_FORWARD"
    (host,) = manager["route_config"]["virtual_hosts"]
    assert (host["name"], host["domains"]) == ("inbound|http|80", ["*"])
    (route,) = host["routes"]
    assert (route["name"], route["route"]["cluster"]) == ("default", "inbound|8080||")
    assert route["route"]["retry_policy"] == {"retry_on": "reset-before-request", "num_retries": 2}
    assert route["decorator"]["operation"] == "web.default.svc.cluster.local:80/*"


def test_ports_of_a_policy_without_a_service_get_chains_of_their_own(compiled: Any) -> None:
    policy = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  mtls: {mode: STRICT}
  portLevelMtls: {"7777": {mode: DISABLE}, "8080": {mode: DISABLE}}
"""
    listener = compiled(policy, "web-v1").listeners["virtualInbound"]
    assert {chain[2] for chain in _chains(listener, 7777)} == {"-"}
    assert _chains(listener, 8080) == [("raw_buffer", "", "-", "http")]


def test_the_older_of_two_services_decides(compiled: Any) -> None:
    second = """
apiVersion: v1
kind: Service
metadata: {name: later}
spec: {selector: {app: web}, ports: [{name: tcp, port: 81, targetPort: 8080}]}
"""
    found = compiled(second, "web-v1")
    assert all(kind == "http" for *_, kind in _chains(found.listeners["virtualInbound"], 8080))
    assert found.clusters["inbound|8080||"]["upstream_bind_config"] == {
        "source_address": {"address": "127.0.0.6", "port_value": 0}
    }
