"""Replies of the connection manager itself once a request has a route: the route's header operations hold for them too."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.proxy.in_memory import Mesh, connection_manager, listener, snapshot, static_cluster

ROUTE = {
    "name": "r",
    "match": {"prefix": "/"},
    "response_headers_to_add": [{"header": {"key": "x-route", "value": "%ROUTE_NAME%"}}],
    "route": {
        "weighted_clusters": {
            "clusters": [
                {
                    "name": name,
                    "weight": 1,
                    "response_headers_to_add": [{"header": {"key": "x-to", "value": name}}],
                }
                for name in ("a", "b")
            ]
        }
    },
}


@pytest.mark.parametrize(
    ("request_", "wait", "status"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 0.0, b"403"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc", 1.0, b"408"),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 0.0, b"400"),
    ],
)
def test_the_routes_headers_are_on_every_reply(request_: bytes, wait: float, status: bytes) -> None:
    for _ in range(8):  # destinations are drawn
        infos: list[Any] = []
        mesh = Mesh(
            snapshot(
                clusters=[static_cluster(name, ("10.0.0.7", 80)) for name in ("a", "b")],
                listeners=[listener(connection_manager([ROUTE], request_timeout="0.5s"))],
            )
        )
        filter_: Any = mesh.plane.listeners.listeners["l"].chains[0].network_filter
        object.__setattr__(filter_.settings, "loggers", (infos.append,))
        client = mesh.client()
        client.receive(request_)
        mesh.run(wait)
        lines = client.take().partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert lines[0].startswith(b"HTTP/1.1 " + status)
        assert b"x-route: r" in lines
        assert b"x-to: " + infos[0].upstream_cluster.encode() in lines
