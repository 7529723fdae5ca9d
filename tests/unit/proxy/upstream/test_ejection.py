"""Outlier detection in a whole data plane: what requests meet, and what survives a change of configuration."""

from __future__ import annotations

from typing import Any

from proxy.config.snapshot import Snapshot
from proxy.upstream.cluster import Cluster
from tests.unit.proxy.in_memory import Mesh, address, connection_manager, listener, snapshot

REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
ALL = {"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s"}}
SOURCE = {"api_config_source": {"api_type": "REST", "cluster_names": ["x"], "transport_api_version": "V3"}}
DETECTION = {"consecutive_5xx": 2, "interval": "1s", "base_ejection_time": "60s", "max_ejection_percent": 100}


def _answer(status: int) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status


def _endpoints(*ports: int, weight: int = 1) -> dict[str, Any]:
    found = [
        {"endpoint": {"address": address("10.0.0.2", port)}, "load_balancing_weight": weight}
        for port in ports
    ]
    return {"cluster_name": "up", "endpoints": [{"lb_endpoints": found}]}


def _snapshot(endpoints: dict[str, Any], previous: Snapshot | None = None, **cluster: Any) -> Snapshot:
    wanted = {
        "name": "up",
        "type": "EDS",
        "eds_cluster_config": {"eds_config": SOURCE},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "outlier_detection": DETECTION,
        **cluster,
    }
    return snapshot(
        clusters=[wanted],
        listeners=[listener(connection_manager([ALL]))],
        endpoints=[endpoints],
        previous=previous,
    )


def _cluster(mesh: Mesh) -> Cluster:
    return mesh.plane.clusters.clusters["up"]


def _ask(mesh: Mesh, status: int) -> bytes:
    """One request; its answer, which has this status if a host is asked."""
    client = mesh.client()
    before = len(mesh.connector.sockets)
    client.receive(REQUEST)
    mesh.run()
    if len(mesh.connector.sockets) > before or not client.sent:
        mesh.upstream.receive(_answer(status))
    return client.take()


def test_an_ejected_host_gets_no_request_and_keeps_no_idle_connection() -> None:
    mesh = Mesh(_snapshot(_endpoints(80)))
    assert b"500" in _ask(mesh, 500)
    assert not mesh.upstream.closed
    assert b"500" in _ask(mesh, 500)
    assert mesh.upstream.closed
    assert b"no healthy upstream" in _ask(mesh, 500)
    (host,) = _cluster(mesh).hosts
    assert (host.ejected, host.available, host.cx_active) == (True, False, 0)


def test_records_survive_endpoint_updates() -> None:
    first = _snapshot(_endpoints(80))
    mesh = Mesh(first)
    _ask(mesh, 500)
    second = _snapshot(_endpoints(80, 81, weight=3), first)
    mesh.plane.apply(second)
    (host, _) = _cluster(mesh).hosts
    assert host.monitor is not None
    host.monitor.on_response(500)
    assert (host.ejected, host.weight) == (True, 3)
    mesh.plane.apply(_snapshot(_endpoints(81, 80), second))
    assert host.ejected
    assert host in _cluster(mesh).hosts
    assert mesh.stat("cluster.up.outlier_detection.ejections_active") == 1


def test_a_new_definition_begins_anew() -> None:
    first = _snapshot(_endpoints(80))
    mesh = Mesh(first)
    _ask(mesh, 500)
    _ask(mesh, 500)
    old = _cluster(mesh)
    mesh.plane.apply(_snapshot(_endpoints(80), first, outlier_detection={**DETECTION, "consecutive_5xx": 9}))
    assert _cluster(mesh) is not old
    assert mesh.stat("cluster.up.outlier_detection.ejections_active") == 0
    assert b"200" in _ask(mesh, 200)


def test_the_timer_runs_only_while_there_is_detection() -> None:
    first = _snapshot(_endpoints(80), outlier_detection=None)
    mesh = Mesh(first)
    assert "armed=0" in repr(mesh.plane.deadlines)
    second = _snapshot(_endpoints(80), first)
    mesh.plane.apply(second)
    assert "armed=1" in repr(mesh.plane.deadlines)
    mesh.run(3.5)
    assert "armed=1" in repr(mesh.plane.deadlines)
    mesh.plane.apply(_snapshot(_endpoints(80), second, outlier_detection=None))
    assert "armed=0" in repr(mesh.plane.deadlines)


def test_grpc_failures_count_by_what_they_stand_for() -> None:
    mesh = Mesh(_snapshot(_endpoints(80)))
    for _ in range(2):
        client = mesh.client()
        client.receive(REQUEST[:-2] + b"content-type: application/grpc\r\n\r\n")
        mesh.run()
        mesh.upstream.receive(_answer(200)[:-2] + b"grpc-status: 14\r\n\r\n")
    assert mesh.stat("cluster.up.outlier_detection.ejections_detected_consecutive_5xx") == 1
