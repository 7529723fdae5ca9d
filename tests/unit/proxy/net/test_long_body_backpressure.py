"""A long body between a fast and a slow side: what is held stays bounded, and everything arrives."""

from __future__ import annotations

from proxy.net.connection import HIGH_WATER
from tests.unit.proxy.in_memory import Mesh, connection_manager, listener, snapshot, static_cluster

PIECE = bytes(range(256)) * 256  # 64 KiB, what one read brings
PIECES = 60
LENGTH = b"content-length: %d\r\n\r\n" % (len(PIECE) * PIECES)
HELD = HIGH_WATER + 512 * 1024  # the watermark, and what came with one readiness event on either side


def mesh() -> Mesh:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s"}}
    return Mesh(
        snapshot(
            clusters=[static_cluster("up", ("10.0.0.7", 80))],
            listeners=[listener(connection_manager([route]))],
        )
    )


def test_a_slow_client_stops_the_upstream() -> None:
    world = mesh()
    client = world.client()
    client.receive(b"GET /long HTTP/1.1\r\nhost: a\r\n\r\n")
    world.run()
    upstream = world.upstream
    client.capacity = 0
    upstream.receive(b"HTTP/1.1 200 OK\r\n" + LENGTH)
    world.run()
    for _ in range(PIECES):
        upstream.receive(PIECE)
        world.run()
    waiting = len(upstream.incoming)
    assert (PIECES - waiting) * len(PIECE) <= HELD
    while upstream.incoming or client.fd in world.loop.writers:
        client.drain()
        upstream.readable()
        world.run()
    head, _, body = client.take().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert body == PIECE * PIECES


def test_a_slow_upstream_stops_the_client() -> None:
    world = mesh()
    client = world.client()
    client.receive(b"POST /long HTTP/1.1\r\nhost: a\r\n" + LENGTH)
    world.run()
    upstream = world.upstream
    upstream.capacity = 0
    for _ in range(PIECES):
        client.receive(PIECE)
        world.run()
    assert (PIECES - len(client.incoming)) * len(PIECE) <= HELD
    while client.incoming or upstream.fd in world.loop.writers:
        upstream.drain()
        client.readable()
        world.run()
    assert upstream.take().partition(b"\r\n\r\n")[2] == PIECE * PIECES
