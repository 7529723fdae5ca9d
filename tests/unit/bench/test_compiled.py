"""What both proxies are measured with: mutual TLS that cannot be missed, Istio's log, and only addresses moved."""

from __future__ import annotations

import json

import pytest

from bench.compiled import client_snapshot, server_snapshot
from bench.pki import Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.mark.parametrize("vanilla", [True, False])
def test_the_client_speaks_mutual_tls_to_the_server_sidecar(authority: Authority, vanilla: bool) -> None:
    snapshot = client_snapshot(4001, 4002, vanilla, authority)
    (listener,) = snapshot["listeners"]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 4001}
    (endpoints,) = [e for e in snapshot["endpoints"] if e["cluster_name"].startswith("outbound|9080||app.")]
    (host,) = endpoints["endpoints"][0]["lb_endpoints"]
    assert host["endpoint"]["address"]["socket_address"]["port_value"] == 4002
    assert host["metadata"]["filter_metadata"]["envoy.transport_socket_match"] == {"tlsMode": "istio"}
    assert ("istio.stats" in json.dumps(listener)) is not vanilla


@pytest.mark.parametrize("vanilla", [True, False])
def test_the_server_takes_nothing_but_mutual_tls(authority: Authority, vanilla: bool) -> None:
    snapshot = server_snapshot(4002, 4003, vanilla, authority)
    (listener,) = snapshot["listeners"]
    chains = [c for c in listener["filter_chains"] if c["filter_chain_match"].get("destination_port") == 4002]
    assert [chain["filter_chain_match"]["transport_protocol"] for chain in chains] == ["tls"]
    assert "transport_socket" in chains[0]
    assert "/dev/stdout" in json.dumps(chains[0]["filters"])
    (cluster,) = [c for c in snapshot["clusters"] if c["name"] == "inbound|4002||"]
    assert cluster["type"] == "STATIC"
    assert [secret["name"] for secret in snapshot["secrets"]] == ["default", "ROOTCA"]
