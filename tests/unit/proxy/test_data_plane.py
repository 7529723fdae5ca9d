"""Configuration changes are applied whole, and cost no request."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.decode import ConfigError
from tests.unit.proxy.in_memory import (
    HCM,
    ROUTER,
    Mesh,
    address,
    connection_manager,
    listener,
    snapshot,
    static_cluster,
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SOURCE = {"api_config_source": {"api_type": "REST", "cluster_names": ["xds"], "transport_api_version": "V3"}}


def rds_listener(**fields: Any) -> dict[str, Any]:
    config = {
        "@type": HCM,
        "stat_prefix": "t",
        "rds": {"config_source": SOURCE, "route_config_name": "9080"},
        "http_filters": [ROUTER],
    }
    return listener({"name": "hcm", "typed_config": {**config, **fields}})  # fmt: skip


def table(cluster: str) -> dict[str, Any]:
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}]
    return {"name": "9080", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}]}


def endpoints(*hosts: str) -> dict[str, Any]:
    found = [{"endpoint": {"address": address(host, 80)}} for host in hosts]
    return {"cluster_name": "eds", "endpoints": [{"lb_endpoints": found}]}


EDS = {"name": "eds", "type": "EDS", "eds_cluster_config": {"eds_config": SOURCE}}
A, B = static_cluster("a", ("10.0.0.1", 80)), static_cluster("b", ("10.0.0.2", 80))


def test_a_keep_alive_connection_uses_the_new_routes_on_its_next_request() -> None:
    first = snapshot(clusters=[A, B], listeners=[rds_listener()], routes=[table("a")])
    mesh = Mesh(first)
    client = mesh.client()
    client.receive(GET)
    mesh.run()
    mesh.plane.apply(
        snapshot(clusters=[A, B], listeners=[rds_listener()], routes=[table("b")], previous=first)
    )
    mesh.upstream.receive(OK)
    assert client.take().endswith(b"ok"), "the request under way is answered by the old route"
    client.receive(GET)
    mesh.run()
    assert [attempt.address[0] for attempt in mesh.connector.attempts] == ["10.0.0.1", "10.0.0.2"]


def test_no_route_table_yet() -> None:
    mesh = Mesh(snapshot(clusters=[], listeners=[rds_listener()]))
    client = mesh.client()
    client.receive(GET)
    assert client.take().startswith(b"HTTP/1.1 404 Not Found")


def test_an_unchanged_cluster_keeps_its_connections_and_a_changed_one_drains() -> None:
    first = snapshot(clusters=[A], listeners=[rds_listener()], routes=[table("a")])
    mesh = Mesh(first)
    client = mesh.client()
    client.receive(GET)
    mesh.run()
    mesh.upstream.receive(OK)
    second = snapshot(clusters=[A, B], listeners=[rds_listener()], routes=[table("a")], previous=first)
    mesh.plane.apply(second)
    assert not mesh.upstream.closed
    slower = {**A, "connect_timeout": "9s"}
    mesh.plane.apply(
        snapshot(clusters=[slower, B], listeners=[rds_listener()], routes=[table("a")], previous=second)
    )
    assert mesh.upstream.closed
    client.take()
    client.receive(GET)
    mesh.run()
    mesh.upstream.receive(OK)
    assert client.take().endswith(b"ok")


def test_removed_hosts_finish_what_they_do() -> None:
    def of(*hosts: str, previous: Any = None) -> Any:
        return snapshot(
            clusters=[EDS], listeners=[rds_listener()], routes=[table("eds")],
            endpoints=[endpoints(*hosts)], previous=previous,
        )  # fmt: skip

    first = of("10.0.0.1")
    mesh = Mesh(first)
    busy = mesh.client()
    busy.receive(GET)
    mesh.run()
    old = mesh.upstream
    second = of("10.0.0.2", previous=first)
    mesh.plane.apply(second)
    assert not old.closed
    old.receive(OK)
    assert busy.take().endswith(b"ok")
    assert old.closed, "a drained host's connection is not kept"
    busy.receive(GET)
    mesh.run()
    mesh.upstream.receive(OK)
    assert busy.take().endswith(b"ok")
    kept = mesh.upstream
    third = of("10.0.0.2", "10.0.0.3", previous=second)
    mesh.plane.apply(third)
    assert not kept.closed, "a host that stays keeps its connections"
    mesh.plane.apply(of("10.0.0.3", previous=third))
    assert kept.closed


def test_a_changed_filter_chain_drains_with_connection_close() -> None:
    first = snapshot(clusters=[A], listeners=[rds_listener()], routes=[table("a")])
    mesh = Mesh(first)
    busy, idle = mesh.client(), mesh.client()
    busy.receive(GET)
    mesh.run()
    mesh.plane.apply(
        snapshot(clusters=[A], listeners=[rds_listener(server_name="x")], routes=[table("a")], previous=first)
    )
    mesh.upstream.receive(OK)
    assert b"connection: close" in busy.take()
    assert not idle.closed, "its client may just be asking"
    idle.receive(GET)
    mesh.run()
    mesh.upstream.receive(OK)
    answer = idle.take()
    assert b"connection: close" in answer
    assert b"server: envoy" in answer
    assert idle.closed
    assert mesh.stat("http.t.downstream_cx_drain_close") == 2
    fresh = mesh.client()
    fresh.receive(GET)
    mesh.run()
    mesh.upstream.receive(OK)
    assert b"server: x" in fresh.take()


def test_an_unchanged_listener_keeps_its_connections() -> None:
    first = snapshot(clusters=[A], listeners=[rds_listener()], routes=[table("a")])
    mesh = Mesh(first)
    client = mesh.client()
    before = mesh.plane.listeners.listeners["l"]
    mesh.plane.apply(
        snapshot(clusters=[A, B], listeners=[rds_listener()], routes=[table("a")], previous=first)
    )
    assert mesh.plane.listeners.listeners["l"] is before
    assert not client.closed


def test_a_bad_part_refuses_the_whole() -> None:
    first = snapshot(clusters=[A], listeners=[rds_listener()], routes=[table("a")])
    mesh = Mesh(first)
    twice = {"name": "v2", "domains": ["*"], "routes": []}
    bad = {**table("b"), "virtual_hosts": [*table("b")["virtual_hosts"], twice]}
    with pytest.raises(ConfigError, match="Only unique values for domains"):
        mesh.plane.apply(snapshot(clusters=[A, B], listeners=[rds_listener()], routes=[bad], previous=first))
    assert sorted(mesh.plane.clusters.clusters) == ["a"]
    no_router = listener(
        connection_manager([{"match": {"prefix": "/"}, "route": {"cluster": "a"}}], http_filters=[])
    )
    with pytest.raises(ConfigError, match="the last of http_filters must be the router"):
        mesh.plane.apply(snapshot(clusters=[A], listeners=[no_router], routes=[], previous=first))


def test_what_endpoints_say_of_overprovisioning_holds_until_they_say_it_no_more() -> None:
    said = {**endpoints("10.0.0.1"), "policy": {"overprovisioning_factor": 200}}
    parts: Any = {"clusters": [EDS], "listeners": [rds_listener()], "routes": [table("eds")]}
    first = snapshot(**parts, endpoints=[said])
    mesh = Mesh(first)
    cluster = mesh.plane.clusters.clusters["eds"]
    assert cluster.overprovisioning == 200
    mesh.plane.apply(snapshot(**parts, endpoints=[endpoints("10.0.0.1")], previous=first))
    assert mesh.plane.clusters.clusters["eds"] is cluster
    assert cluster.overprovisioning == 140
