"""A cluster of which no page shows anything comes into being with its first request, and nobody can tell."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.decode import CLUSTER, ConfigError, decode
from proxy.config.snapshot import Snapshot
from proxy.data_plane import Services
from proxy.observability.stats import SIDECAR_PREFIXES, SIDECAR_SUFFIXES, Inclusion, StatsStore
from tests.unit.proxy.in_memory import Mesh, address, connection_manager, listener, snapshot

GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SOURCE = {"api_config_source": {"api_type": "REST", "cluster_names": ["x"], "transport_api_version": "V3"}}
ALL = {"match": {"prefix": "/"}, "route": {"cluster": "used", "timeout": "0s"}}


def eds(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "EDS", "eds_cluster_config": {"eds_config": SOURCE}, **more}


def endpoints(name: str, *hosts: str) -> dict[str, Any]:
    found = [{"endpoint": {"address": address(host, 80)}} for host in hosts]
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": found}]}


def push(*used: str, previous: Snapshot | None = None, **more: Any) -> Snapshot:
    return snapshot(
        clusters=[eds("used", **more), eds("other"), {"name": "fixed", "type": "STATIC"}],
        listeners=[listener(connection_manager([ALL]))],
        endpoints=[endpoints("used", *used), endpoints("other", "10.0.0.9")],
        previous=previous,
    )


def as_a_sidecar(first: Snapshot, *found: str) -> Mesh:
    """A mesh that registers the stats a sidecar does, and those that are found."""
    included = Inclusion(
        SIDECAR_PREFIXES, SIDECAR_SUFFIXES, [re.compile(pattern).search for pattern in found]
    )
    return Mesh(first, Services(stats=StatsStore(included)))


def in_use(mesh: Mesh) -> list[str]:
    return sorted(mesh.plane.clusters.clusters)


def test_the_first_request_builds_what_it_needs() -> None:
    mesh = as_a_sidecar(push("10.0.0.1"))
    assert in_use(mesh) == ["fixed"]
    assert sorted(mesh.plane.clusters.names) == ["fixed", "other", "used"]
    client = mesh.client()
    client.receive(GET)
    mesh.run()
    mesh.upstream.receive(OK)
    assert client.take().endswith(b"ok")
    assert in_use(mesh) == ["fixed", "used"]
    assert mesh.connector.attempts[-1].address == ("10.0.0.1", 80)


def test_what_changed_before_the_first_request_is_what_it_meets() -> None:
    first = push("10.0.0.1")
    mesh = as_a_sidecar(first)
    second = push("10.0.0.2", previous=first)
    mesh.plane.apply(second)
    mesh.plane.apply(push("10.0.0.2", previous=second, connect_timeout="9s"))
    client = mesh.client()
    client.receive(GET)
    mesh.run()
    assert mesh.connector.attempts[-1].address == ("10.0.0.2", 80)
    assert mesh.plane.clusters.clusters["used"].connect_settings.timeout == 9.0


def test_a_cluster_in_use_keeps_its_connections_through_updates() -> None:
    first = push("10.0.0.1")
    mesh = as_a_sidecar(first)
    client = mesh.client()
    client.receive(GET)
    mesh.run()
    mesh.upstream.receive(OK)
    cluster = mesh.plane.clusters.clusters["used"]
    second = push("10.0.0.1", "10.0.0.2", previous=first)
    mesh.plane.apply(second)
    assert mesh.plane.clusters.clusters["used"] is cluster
    assert (len(cluster.hosts), mesh.upstream.closed) == (2, False)


def test_one_that_came_into_use_between_prepare_and_commit_has_the_new_endpoints() -> None:
    first = push("10.0.0.1")
    mesh = as_a_sidecar(first)
    prepared = mesh.plane.prepare(push("10.0.0.2", previous=first))
    mesh.client().receive(GET)
    mesh.run()
    mesh.plane.commit(prepared)
    assert [host.name for host in mesh.plane.clusters.clusters["used"].hosts] == ["10.0.0.2:80"]


def test_one_that_is_gone_is_not_found() -> None:
    first = push("10.0.0.1")
    mesh = as_a_sidecar(first)
    mesh.plane.apply(snapshot(clusters=[], listeners=[listener(connection_manager([ALL]))], previous=first))
    client = mesh.client()
    client.receive(GET)
    assert client.take().startswith(b"HTTP/1.1 503")


def test_a_page_looks_without_beginning_to_use() -> None:
    mesh = as_a_sidecar(push("10.0.0.1"))
    assert [host.name for host in mesh.plane.clusters.look("used")[0]] == ["10.0.0.1:80"]
    assert in_use(mesh) == ["fixed"]


@pytest.mark.parametrize(
    "more",
    [
        {"outlier_detection": {}},
        {"lb_policy": "ROUND_ROBIN", "round_robin_lb_config": {"slow_start_config": {"slow_start_window": "9s"}}},
    ],
)  # fmt: skip
def test_what_has_a_clock_of_its_own_is_there_at_once(more: dict[str, Any]) -> None:
    assert in_use(as_a_sidecar(push("10.0.0.1", **more))) == ["fixed", "used"]


@pytest.mark.parametrize("pattern", ["used.*upstream_rq_total", r"^cluster\.", "membership_total$"])
def test_stats_that_are_asked_for_are_there_before_the_first_request(pattern: str) -> None:
    mesh = as_a_sidecar(push("10.0.0.1"), pattern)
    assert "used" in in_use(mesh)


def test_what_is_wrong_is_refused_though_nobody_uses_it() -> None:
    tls = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    versions = {"tls_params": {"tls_minimum_protocol_version": "TLSv9"}}
    socket = {"name": "tls", "typed_config": {"@type": tls, "common_tls_context": versions}}
    with pytest.raises(ValueError, match="TLSv9"):
        as_a_sidecar(push("10.0.0.1", transport_socket=socket))
    pipe = {"cluster_name": "used", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": "/x"}}}}]}]}  # fmt: skip
    with pytest.raises(ConfigError, match="only socket addresses"):
        snapshot(clusters=[eds("used")], listeners=[], endpoints=[pipe])


@given(
    st.lists(st.sampled_from(["a.", "a.b", "c", "x", "a"]), max_size=2),
    st.lists(st.sampled_from(["c", "b.c", "xc", "d"]), max_size=2),
    st.lists(st.sampled_from(["b", "a.*c", "^a", "c$", "z"]), max_size=2),
    st.sampled_from(["a.b.", "x."]),
    st.lists(st.sampled_from(["c", "d", "cc"]), min_size=1, max_size=3),
)
def test_no_stat_that_would_be_on_a_page_is_overlooked(
    prefixes: list[str], suffixes: list[str], patterns: list[str], prefix: str, rests: list[str]
) -> None:
    included = Inclusion(prefixes, suffixes, [re.compile(pattern).search for pattern in patterns])
    exactly = any(included(prefix + rest) for rest in rests)
    assert StatsStore(included).registers_any(prefix, rests) >= exactly


def test_a_static_cluster_does_not_wait_for_its_first_request() -> None:
    """Its definition is not the snapshot's, from which those that wait are built."""
    first = push("10.0.0.1")
    mesh = as_a_sidecar(first)
    own = decode(
        CLUSTER, "used", msgspec.Raw(json.dumps({"@type": CLUSTER, **eds("used", connect_timeout="9s")}))
    )
    mesh.plane.apply(push("10.0.0.1", previous=first), None, {"used": own})
    assert mesh.plane.clusters.clusters["used"].connect_settings.timeout == 9.0
    client = mesh.client()
    client.receive(GET)
    mesh.run()
    assert mesh.connector.attempts[-1].address == ("10.0.0.1", 80)


def test_a_cluster_that_goes_takes_no_stats_of_a_longer_name() -> None:
    mesh = Mesh(snapshot(clusters=[eds("a.com"), eds("a.com.au")], listeners=[]))

    def names(of: str) -> list[str]:
        return [one.name for one in mesh.services.stats.counters() if one.name.startswith(of)]

    before = names("cluster.a.com.au.")
    assert before
    mesh.plane.apply(snapshot(clusters=[eds("a.com.au")], listeners=[]))
    assert names("cluster.a.com.") == before
