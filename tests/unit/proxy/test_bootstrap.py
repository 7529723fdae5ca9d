"""The bootstrap: an Envoy file, the environment, and what is refused with its path."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from proxy import bootstrap
from proxy.agent import environment, envoy_bootstrap
from proxy.agent.environment import SettingsError


def envoy_file(**changes: Any) -> dict[str, Any]:
    source = bootstrap.rest_source()
    return {
        "node": {"id": "n", "cluster": "c"},
        "admin": {"address": bootstrap.socket_address("127.0.0.1", 9901)},
        "dynamic_resources": {"lds_config": source, "cds_config": source},
        "static_resources": {
            "clusters": [bootstrap.xds_cluster("127.0.0.1", 18000), bootstrap.static_cluster("x", "127.0.0.1", 1)],
            "listeners": [{"name": "l"}],
        },
        **changes,
    }  # fmt: skip


def read(directory: Path, content: dict[str, Any]) -> bootstrap.Bootstrap:
    file = directory / "b.json"
    file.write_text(json.dumps(content))
    return bootstrap.from_file(file)


def test_an_envoy_file(tmp_path: Path) -> None:
    found = read(tmp_path, envoy_file())
    assert found.admin_address == ("127.0.0.1", 9901)
    assert found.xds_address == ("127.0.0.1", 18000)
    assert not found.aggregated
    assert [c["name"] for c in found.static_clusters] == ["x"]
    assert found.static_listeners == ({"name": "l"},)
    assert found.node["user_agent_name"] == "glassmesh"


def test_static_only(tmp_path: Path) -> None:
    found = read(tmp_path, {"static_resources": {"listeners": []}})
    assert (found.xds_address, found.admin_address, found.static_clusters) == (None, None, ())


GRPC = {"api_config_source": {"api_type": "GRPC", "cluster_names": ["x"]}}
REFUSED = [
    ({"nope": 1}, "nope: not supported in a bootstrap"),
    ({"node": {"id": "n"}}, "node: 'id' and 'cluster' are needed"),
    ({"dynamic_resources": {"lds_config": GRPC}}, "dynamic_resources.lds_config: want api_config_source with api_type REST"),
    ({"static_resources": {}}, "no cluster 'xds-rest'"),
    ({"static_resources": {"clusters": [{"name": "xds-rest"}]}}, "static_resources.clusters[0].load_assignment: want one endpoint"),
    ({"admin": {"address": {"pipe": {}}}}, "admin.address: want socket_address"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "text"), REFUSED)
def test_refused_with_its_path(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, envoy_file(**changes))
    assert text in str(caught.value)


def test_from_the_environment() -> None:
    settings = environment.read("router", {"POD_NAME": "gw", "INSTANCE_IP": "10.0.0.1"})
    found = bootstrap.from_environment(settings)
    assert found.aggregated
    assert found.xds_address == ("istiod.istio-system.svc", 15012)
    assert found.admin_address == ("127.0.0.1", 15000)
    assert found.drain_time == 45
    assert found.node["user_agent_name"] == "glassmesh"


@pytest.mark.parametrize(
    ("told", "option", "workers"),
    [
        ({}, None, 1),
        ({"concurrency": 3}, None, 3),
        ({"concurrency": 3}, 2, 2),
        ({"concurrency": 0}, None, len(os.sched_getaffinity(0))),
        ({}, 0, 1),  # as Envoy's flag
    ],
)
def test_how_many_workers(told: dict[str, int], option: int | None, workers: int) -> None:
    pod = {"POD_NAME": "p", "PROXY_CONFIG": json.dumps(told)}
    start = bootstrap.from_environment(environment.read("sidecar", pod))
    assert bootstrap.concurrency(start, option) == workers


@pytest.mark.parametrize("told", [-1, "2", True, 1.5])
def test_a_number_of_workers_that_is_none(told: object) -> None:
    pod = {"POD_NAME": "p", "PROXY_CONFIG": json.dumps({"concurrency": told})}
    start = bootstrap.from_environment(environment.read("sidecar", pod))
    with pytest.raises(SettingsError, match=r"PROXY_CONFIG: concurrency: .* is not a number of workers"):
        bootstrap.concurrency(start, None)


@pytest.mark.parametrize(
    ("option", "message"),
    [(-1, "--concurrency: -1 is not a number"), (1_000_000, "--concurrency: 1000000 workers are more than")],
)
def test_a_number_of_workers_on_the_command_line(option: int, message: str) -> None:
    start = bootstrap.from_environment(environment.read("sidecar", {"POD_NAME": "p"}))
    with pytest.raises(SettingsError, match=message):
        bootstrap.concurrency(start, option)


def test_what_the_agent_writes_for_envoy() -> None:
    written = envoy_bootstrap.write(environment.read("sidecar", {"POD_NAME": "p"}))
    assert json.loads(json.dumps(written)) == written
    clusters = {c["name"]: c for c in written["static_resources"]["clusters"]}
    assert set(clusters) == {"xds-rest", "prometheus_stats"}
    address = clusters["xds-rest"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"][
        "address"
    ]
    assert address["socket_address"] == {"address": "127.0.0.1", "port_value": 15009}
    # A long poll per EDS subscription: the usual 1024 requests would be too few.
    assert clusters["xds-rest"]["circuit_breakers"]["thresholds"][0]["max_requests"] == 100000
    assert written["node"]["user_agent_name"] == "envoy"
    assert {"prefix": "reporter="} in written["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"]
    assert bootstrap.static_cluster("n", "istiod.example", 1)["type"] == "STRICT_DNS"


def test_which_stats_there_are(tmp_path: Path) -> None:
    assert read(tmp_path, envoy_file()).stats is None
    assert read(tmp_path, envoy_file(stats_config={"use_all_default_tags": True})).stats is None
    told = {"stats_matcher": {"inclusion_list": {"patterns": [{"prefix": "cluster."}]}}}
    found = read(tmp_path, envoy_file(stats_config=told)).stats
    assert found is not None
    assert found.inclusion_list is not None
    assert found.inclusion_list.patterns[0].prefix == "cluster."


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"stats_tags": []}, "stats_config.stats_tags: not implemented"),
        ({"histogram_bucket_settings": []}, "stats_config.histogram_bucket_settings: not implemented"),
        ({"use_all_default_tags": False}, "stats_config.use_all_default_tags: invalid enum value False"),
        ({"stats_matcher": {}}, "stats_config.stats_matcher: "),
        ({"stats_matcher": {"reject_all": True, "inclusion_list": {"patterns": [{"exact": "a"}]}}}, "stats_config.stats_matcher: "),
        ({"stats_matcher": {"exclusion_list": {"patterns": []}}}, "stats_config.stats_matcher.exclusion_list.patterns: "),
        (
            {"stats_matcher": {"inclusion_list": {"patterns": [{"safe_regex": {"regex": "("}}]}}},
            "stats_config.stats_matcher.inclusion_list: missing",
        ),
    ],
)  # fmt: skip
def test_stats_that_cannot_be(told: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, envoy_file(stats_config=told))
    assert f"b.json: {message}" in str(caught.value)
