"""The injector's environment: defaults, metadata, and one clear line for what cannot be read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.agent.environment import Ports, SettingsError, read


def settings(role: str = "sidecar", **environment: str) -> Any:
    return read(role, {"POD_NAME": "reviews-v1-abc", **environment})


def test_defaults_are_istios() -> None:
    found = settings()
    assert found.discovery_address == ("istiod.istio-system.svc", 15012)
    assert (found.drain_duration, found.termination_drain_duration, found.secret_ttl) == (45, 5, 86400)
    assert found.identity == "spiffe://cluster.local/ns/default/sa/default"
    assert found.ports == Ports(15000, 15020, 15021, 15090, 15009)
    assert str(found.token_file) == "/var/run/secrets/tokens/istio-token"


def test_node() -> None:
    found = settings(
        "router",
        POD_NAMESPACE="istio-system", INSTANCE_IP="10.0.0.1", SERVICE_ACCOUNT="gw", TRUST_DOMAIN="td",
        ISTIO_META_WORKLOAD_NAME="gateway", ISTIO_METAJSON_LABELS='{"app": "gw"}', ISTIO_META_CLUSTER_ID="c1",
    )  # fmt: skip
    node = found.node("glassmesh")
    assert node["id"] == "router~10.0.0.1~reviews-v1-abc.istio-system~istio-system.svc.cluster.local"
    assert node["cluster"] == "gw.istio-system"
    assert node["metadata"]["LABELS"] == {"app": "gw"}
    assert node["metadata"]["CLUSTER_ID"] == "c1"
    assert found.identity == "spiffe://td/ns/istio-system/sa/gw"
    assert settings(ISTIO_META_WORKLOAD_NAME="w").node_cluster == "w.default"
    assert settings().node_cluster == "istio-proxy.default"


def test_proxy_config_and_overrides() -> None:
    config = {
        "discoveryAddress": "[::1]:15012",
        "drainDuration": "1m30s",
        "proxyAdminPort": 1,
        "statusPort": 2,
    }
    found = settings(
        PROXY_CONFIG=json.dumps(config), TERMINATION_DRAIN_DURATION_SECONDS="7", SECRET_TTL="20s",
        ENVOY_STATUS_PORT="3", ENVOY_PROMETHEUS_PORT="4", GLASSMESH_TOKEN_FILE="/t",
    )  # fmt: skip
    assert found.discovery_address == ("::1", 15012)
    assert (found.drain_duration, found.termination_drain_duration, found.secret_ttl) == (90, 7, 20)
    assert found.ports == Ports(1, 2, 3, 4)
    assert str(found.token_file) == "/t"


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"PROXY_CONFIG": "{"}, "PROXY_CONFIG: not JSON"),
        ({"PROXY_CONFIG": "[]"}, "PROXY_CONFIG: want a JSON object"),
        ({"PROXY_CONFIG": '{"discoveryAddress": "x"}'}, "discoveryAddress: 'x' is not HOST:PORT"),
        ({"PROXY_CONFIG": '{"drainDuration": "5"}'}, "drainDuration: '5' is not a duration"),
        ({"ISTIO_METAJSON_LABELS": "x"}, "ISTIO_METAJSON_LABELS: not JSON"),
        ({"ENVOY_STATUS_PORT": "99999"}, "ENVOY_STATUS_PORT: '99999' is not a port"),
        ({"POD_NAME": ""}, "POD_NAME is not set"),
    ],
)
def test_what_cannot_be_read(environment: dict[str, str], text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(**environment)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
