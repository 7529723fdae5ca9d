"""Retries, timeouts, mirrors and retry budgets: what each field of Istio's becomes."""

from __future__ import annotations

from typing import Any

import pytest

from control.mesh_config import HttpRetryPolicy, MeshConfig
from control.trusted_callers import Features, Network, NetworkEndpoints

Json = dict[str, Any]
HOST = "web.default.svc.cluster.local"
CLUSTER = f"outbound|80||{HOST}"
DEFAULT = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"


def _action(compiled: Any, rule: str, **kwargs: Any) -> Json:
    manifest = f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web}}
spec: {{hosts: [web], http: [{{route: [{{destination: {{host: web}}}}], {rule}}}]}}
"""
    host = compiled(manifest, **kwargs).virtual_host("80", f"{HOST}:80")
    action: Json = host["routes"][0]["route"]
    return action


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("", {"timeout": "0s", "max_grpc_timeout": "0s"}),
        ("timeout: 0s", {"timeout": "0s", "max_grpc_timeout": "0s"}),
        ("timeout: 2s", {"timeout": "2s", "max_grpc_timeout": "2s"}),
    ],
)
def test_timeouts(compiled: Any, rule: str, expected: Json) -> None:
    action = _action(compiled, rule)
    assert {key: action[key] for key in expected} == expected
    assert "max_stream_duration" not in action


@pytest.mark.parametrize(
    ("retries", "retry_on", "codes"),
    [
        ("attempts: 2", DEFAULT, None),
        ("attempts: 2, retryOn: '5xx'", "5xx", None),
        ("attempts: 2, retryOn: 'gateway-error,reset'", "gateway-error,reset", None),
        ("attempts: 2, retryOn: '503,418'", "retriable-status-codes", [503, 418]),
        ("attempts: 2, retryOn: 'retriable-status-codes,503'", "retriable-status-codes", [503]),
    ],
)
def test_retry_conditions(compiled: Any, retries: str, retry_on: str, codes: list[int] | None) -> None:
    policy = _action(compiled, f"retries: {{{retries}}}")["retry_policy"]
    assert (policy["retry_on"], policy.get("retriable_status_codes")) == (retry_on, codes)


def test_previous_hosts_are_avoided_unless_told_otherwise(compiled: Any) -> None:
    assert "retry_host_predicate" in _action(compiled, "retries: {attempts: 1}")["retry_policy"]
    policy = _action(compiled, "retries: {attempts: 1, retryIgnorePreviousHosts: false}")["retry_policy"]
    assert "retry_host_predicate" not in policy
    assert "host_selection_retry_max_attempts" not in policy


def test_the_mesh_default_policy(compiled: Any) -> None:
    mesh = MeshConfig(defaultHttpRetryPolicy=HttpRetryPolicy(attempts=4, retryOn="502", perTryTimeout="1s"))
    policy = _action(compiled, "", mesh=mesh)["retry_policy"]
    assert policy["num_retries"] == 4
    assert policy["retriable_status_codes"] == [502]
    assert policy["per_try_timeout"] == "1s"
    off = MeshConfig(defaultHttpRetryPolicy=HttpRetryPolicy(attempts=0))
    assert "retry_policy" not in _action(compiled, "", mesh=off)
    assert _action(compiled, "retries: {attempts: 1}", mesh=mesh)["retry_policy"]["retry_on"] == DEFAULT


PERCENT = {"numerator": 100, "denominator": "HUNDRED"}


@pytest.mark.parametrize(
    ("rule", "shares"),
    [
        ("mirror: {host: web}", [PERCENT]),
        (
            "mirror: {host: web}, mirrorPercentage: {value: 12.5}",
            [{"numerator": 125000, "denominator": "MILLION"}],
        ),
        ("mirror: {host: web}, mirrorPercentage: {value: 0}", []),
        ("mirror: {host: web}, mirrorPercent: 7", [{"numerator": 7, "denominator": "HUNDRED"}]),
        ("mirror: {host: web}, mirror_percent: 0", []),
        (
            "mirrors: [{destination: {host: web}}, {destination: {host: web}, percentage: {value: 1}}]",
            [PERCENT, {"numerator": 10000, "denominator": "MILLION"}],
        ),
        ("mirrors: [{destination: {host: web}, percentage: {value: 0}}]", []),
    ],
)
def test_mirrors(compiled: Any, rule: str, shares: list[Json]) -> None:
    policies = _action(compiled, rule).get("request_mirror_policies", [])
    assert [policy["runtime_fraction"]["default_value"] for policy in policies] == shares
    for policy in policies:
        assert policy["cluster"] == CLUSTER
        assert policy["disable_shadow_host_suffix_append"] is True


@pytest.mark.parametrize(
    ("policy", "budget"),
    [
        ("connectionPool: {http: {maxRetries: 4}}", None),
        ("retryBudget: {}", {"budget_percent": {"value": 20}, "min_retry_concurrency": 3}),
        (
            "retryBudget: {percent: 50, minRetryConcurrency: 1}",
            {"budget_percent": {"value": 50}, "min_retry_concurrency": 1},
        ),
        (
            "connectionPool: {http: {retryBudget: {percent: 5}}}, retryBudget: {percent: 50}",
            {"budget_percent": {"value": 5}, "min_retry_concurrency": 3},
        ),
    ],
)
def test_retry_budget(compiled: Any, policy: str, budget: Json | None) -> None:
    manifest = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: web}}
spec: {{host: web, trafficPolicy: {{{policy}}}}}
"""
    (threshold,) = compiled(manifest).clusters[CLUSTER]["circuit_breakers"]["thresholds"]
    assert threshold.get("retry_budget") == budget


def _managers(compiled: Any, mesh: MeshConfig) -> list[Json]:
    found = []
    for listener in compiled("", mesh=mesh).listeners.values():
        for chain in [*listener["filter_chains"], *filter(None, [listener.get("default_filter_chain")])]:
            found += [
                one["typed_config"] for one in chain["filters"] if "http_filters" in one["typed_config"]
            ]
    assert found
    return found


def test_nobody_steers_the_router_unless_switched_on(compiled: Any) -> None:
    networks = {"net": Network(endpoints=[NetworkEndpoints(fromCidr="10.244.0.0/16")])}
    for manager in _managers(compiled, MeshConfig(meshNetworks=networks)):
        assert "internal_address_config" not in manager
        assert not manager["use_remote_address"]
    features = Features().with_environment(
        {"PILOT_SIDECAR_USE_REMOTE_ADDRESS": "true", "ENABLE_HCM_INTERNAL_NETWORKS": "1"}
    )
    for manager in _managers(compiled, MeshConfig(meshNetworks=networks, features=features)):
        ranges = manager["internal_address_config"]["cidr_ranges"]
        assert ranges == [{"address_prefix": "10.244.0.0", "prefix_len": 16}]
        assert manager["use_remote_address"] is manager["stat_prefix"].startswith("outbound")
