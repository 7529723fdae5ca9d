"""Counters of a route with a stat prefix; the numbers are what Envoy 1.40 showed for the same requests."""

from __future__ import annotations

from tests.unit.proxy.in_memory import Mesh, connection_manager, listener, snapshot, static_cluster

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PREFIX = "vhost.vh.route.pre."


def answer(status: int) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status


def test_attempts_outcomes_and_retries_are_counted() -> None:
    retry = {"retry_on": "5xx", "num_retries": 1, "retry_back_off": {"base_interval": "0.001s"}}
    route = {
        "match": {"prefix": "/"},
        "stat_prefix": "pre",
        "route": {"cluster": "up", "retry_policy": retry},
    }
    plane = Mesh(
        snapshot(
            clusters=[static_cluster("up", ("10.0.0.1", 80))],
            listeners=[listener(connection_manager([route], vhost={"name": "vh"}))],
        )
    )
    client = plane.client()
    for statuses in ((200,), (503, 200), (503, 503)):
        client.receive(GET)
        plane.run()
        for status in statuses:
            plane.upstream.receive(answer(status))
            plane.run(0.2)
        client.take()
    found = {one.name: one.value for one in plane.services.stats.counters() if one.name.startswith(PREFIX)}
    assert {name.removeprefix(PREFIX): value for name, value in found.items() if value} == {
        "upstream_rq_total": 5, "upstream_rq_completed": 3, "upstream_rq_200": 2, "upstream_rq_2xx": 2, "upstream_rq_503": 1,
        "upstream_rq_5xx": 1, "upstream_rq_retry": 2, "upstream_rq_retry_success": 1, "upstream_rq_retry_limit_exceeded": 1,
    }  # fmt: skip
