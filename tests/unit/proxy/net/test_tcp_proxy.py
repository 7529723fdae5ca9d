"""Opaque TCP over fakes: how it ends, what is logged of it, and that its bytes are known while it lives."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.data_plane import Services
from proxy.observability import response_flags as flags
from proxy.upstream.failure import ResetReason, UpstreamReset
from tests.unit.proxy.in_memory import Mesh, listener, snapshot, static_cluster

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
STATS = {
    "name": "istio.stats",
    "typed_config": {
        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
        "type_url": "type.googleapis.com/stats.PluginConfig",
        "value": {},
    },
}


class Tcp:
    """A mesh with one opaque TCP listener, a client in it, and what was said of its connections."""

    def __init__(self, *, automatic: bool = True) -> None:
        self.opened: list[tuple[str, Any]] = []
        self.ended: list[Any] = []
        services = Services(
            istio_tcp_stats=lambda reporter: self.ended.append,
            istio_tcp_opened=lambda reporter, info: self.opened.append((reporter, info)),
        )
        proxy = {"name": "tcp", "typed_config": {"@type": TCP_PROXY, "stat_prefix": "t", "cluster": "up"}}
        chain = {"name": "c", "filters": [STATS, proxy]}
        wanted = {**listener(proxy), "filter_chains": [chain], "traffic_direction": "OUTBOUND"}
        self.mesh = Mesh(
            snapshot(clusters=[static_cluster("up", ("10.0.0.2", 9000))], listeners=[wanted]), services
        )
        self.mesh.connector.automatic = automatic
        self.client = self.mesh.client()
        self.mesh.run()


def test_bytes_are_known_while_it_lives() -> None:
    tcp = Tcp()
    ((reporter, info),) = tcp.opened
    assert reporter == "source"
    tcp.client.receive(b"hello")
    assert (info.bytes_received, info.bytes_sent, info.upstream_host) == (5, 0, "10.0.0.2:9000")
    tcp.mesh.upstream.receive(b"hi")
    assert (info.bytes_received, info.bytes_sent) == (5, 2)
    assert tcp.ended == []


def test_an_orderly_end_has_no_flag() -> None:
    tcp = Tcp()
    tcp.client.receive_eof()
    assert tcp.mesh.upstream.write_ended
    tcp.mesh.upstream.receive_eof()
    assert tcp.client.closed
    assert [info.response_flags for info in tcp.ended] == [0]


@pytest.mark.parametrize("by_client", [True, False])
def test_a_reset_is_passed_on(by_client: bool) -> None:
    tcp = Tcp()
    one, other = (tcp.client, tcp.mesh.upstream) if by_client else (tcp.mesh.upstream, tcp.client)
    one.receive_error()
    assert other.was_reset
    assert other.closed
    assert [info.response_flags for info in tcp.ended] == [0 if by_client else flags.UR]
    assert tcp.ended[0].connection_termination_details is None


def test_a_refused_connection_is_logged_as_envoy_does() -> None:
    tcp = Tcp(automatic=False)
    failure = UpstreamReset(
        ResetReason.REMOTE_CONNECTION_FAILURE, "delayed connect error: Connection refused"
    )
    tcp.mesh.connector.attempts[0].fail(failure)
    (info,) = tcp.ended
    assert flags.text(info.response_flags) == "UF,URX"
    assert info.upstream_transport_failure_reason == "delayed_connect_error:_Connection_refused"


# Limits, times and failures; the counts are those of Envoy 1.40.


class Opaque:
    """One listener with an opaque chain of these fields, over one cluster."""

    def __init__(self, proxy: dict[str, Any] | None = None, **cluster: Any) -> None:
        typed = {"@type": TCP_PROXY, "stat_prefix": "t", "cluster": "up", **(proxy or {})}
        if "weighted_clusters" in typed:
            del typed["cluster"]
        self.ended: list[Any] = []
        never_panic = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
        clusters = [
            static_cluster(name, ("10.0.0.2", 9000), **never_panic, **cluster) for name in ("up", "v2")
        ]
        services = Services(access_loggers=lambda _: [self.ended.append])
        self.mesh = Mesh(
            snapshot(clusters=clusters, listeners=[listener({"name": "tcp", "typed_config": typed})]),
            services,
        )

    def stats(self, *names: str) -> tuple[int, ...]:
        return tuple(self.mesh.stat(f"cluster.up.{name}") for name in names)


def _breakers(**limits: int) -> dict[str, Any]:
    return {"circuit_breakers": {"thresholds": [limits]}}


def test_connections_over_the_limit_are_closed() -> None:
    opaque = Opaque(**_breakers(max_connections=1))
    first, second = opaque.mesh.client(), opaque.mesh.client()
    assert second.closed
    assert opaque.ended[0].response_flags == flags.UO
    assert opaque.stats("upstream_cx_overflow", "upstream_cx_total", "upstream_rq_pending_overflow") == (
        1,
        1,
        0,
    )
    assert opaque.stats("circuit_breakers.default.cx_open") == (1,)
    opaque.mesh.run()
    first.receive_eof()
    opaque.mesh.upstream.receive_eof()
    assert opaque.stats("circuit_breakers.default.cx_open", "upstream_cx_destroy_remote") == (0, 1)
    assert not opaque.mesh.client().closed


def test_no_room_to_wait_for_a_connection() -> None:
    opaque = Opaque(**_breakers(max_pending_requests=0))
    assert opaque.mesh.client().closed
    (info,) = opaque.ended
    assert (info.response_flags, info.upstream_host) == (flags.TCP_URX, None)
    names = ("upstream_rq_pending_overflow", "upstream_cx_connect_attempts_exceeded", "upstream_cx_total")
    assert opaque.stats(*names) == (1, 1, 0)


def test_requests_are_counted_but_not_limited() -> None:
    opaque = Opaque(**_breakers(max_requests=1))
    clients = [opaque.mesh.client() for _ in range(2)]
    opaque.mesh.run()
    assert not any(client.closed for client in clients)
    assert opaque.stats("upstream_rq_active", "upstream_rq_total", "upstream_rq_pending_total") == (2, 2, 2)
    opaque.mesh.plane.close()
    assert opaque.stats("upstream_rq_active", "upstream_cx_active") == (0, 0)


def test_connects_that_fail_eject() -> None:
    detection = {"consecutive_5xx": 2, "max_ejection_percent": 100}
    opaque = Opaque(outlier_detection=detection)
    opaque.mesh.connector.automatic = False
    for attempt in range(2):
        opaque.mesh.client()
        reason = ResetReason.REMOTE_CONNECTION_FAILURE
        opaque.mesh.connector.attempts[attempt].fail(UpstreamReset(reason, "delayed connect error: refused"))
    assert opaque.mesh.client().closed
    assert [info.response_flags for info in opaque.ended] == [flags.UF | flags.TCP_URX] * 2 + [flags.UH]
    names = ("upstream_cx_connect_fail", "upstream_rq_pending_failure_eject", "upstream_cx_none_healthy")
    assert opaque.stats(*names, "outlier_detection.ejections_active") == (2, 2, 1, 1)
    assert opaque.stats("upstream_rq_pending_active", "upstream_cx_active", "upstream_rq_total") == (0, 0, 0)


def test_a_connect_that_succeeds_is_the_hosts_success() -> None:
    opaque = Opaque(outlier_detection={"consecutive_5xx": 2, "max_ejection_percent": 100})
    opaque.mesh.connector.automatic = False
    for attempt, fails in enumerate((True, False, True, False)):
        opaque.mesh.client()
        connecting = opaque.mesh.connector.attempts[attempt]
        if fails:
            connecting.fail(UpstreamReset(ResetReason.CONNECTION_TIMEOUT))
        else:
            connecting.succeed()
    assert opaque.stats("outlier_detection.ejections_enforced_total", "upstream_cx_connect_timeout") == (0, 2)


def test_the_longest_time_of_a_connection() -> None:
    opaque = Opaque({"max_downstream_connection_duration": "2s"})
    client = opaque.mesh.client()
    opaque.mesh.run(1.9)
    client.receive(b"busy")
    assert not client.closed
    opaque.mesh.run(0.2)
    assert client.closed
    assert opaque.ended[0].response_flags == flags.DT
    assert opaque.mesh.stat("tcp.t.max_downstream_connection_duration") == 1
    assert opaque.stats("upstream_cx_destroy_local_with_active_rq") == (1,)


def test_the_longest_time_counts_from_the_clients_side() -> None:
    opaque = Opaque({"max_downstream_connection_duration": "2s"})
    opaque.mesh.connector.automatic = False
    client = opaque.mesh.client()
    opaque.mesh.run(2.1)
    assert client.closed
    assert opaque.mesh.connector.attempts[0].cancelled
    assert opaque.stats("upstream_rq_cancelled", "upstream_rq_pending_active", "upstream_cx_active") == (
        1,
        0,
        0,
    )


def test_weights_choose_the_cluster() -> None:
    weights = [{"name": "up", "weight": 3}, {"name": "v2", "weight": 1}]
    opaque = Opaque({"weighted_clusters": {"clusters": weights}})
    for _ in range(400):
        opaque.mesh.client()
    opaque.mesh.run()
    first, second = opaque.stats("upstream_cx_total")[0], opaque.mesh.stat("cluster.v2.upstream_cx_total")
    assert first + second == 400
    assert 250 < first < 350
