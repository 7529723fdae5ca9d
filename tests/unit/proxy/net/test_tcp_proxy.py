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
