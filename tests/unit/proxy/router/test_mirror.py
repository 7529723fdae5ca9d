"""Copies of requests by dialogues: what the mirror gets, that the client never waits for it, and that nothing is left over."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.router.mirror import LIMIT
from proxy.upstream.failure import ResetReason, UpstreamReset
from tests.unit.proxy.in_memory import (
    FakeConnecting,
    FakeSocket,
    Mesh,
    connection_manager,
    listener,
    snapshot,
    static_cluster,
)

GET = b"GET /x HTTP/1.1\r\nHost: a:80\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
APP, COPY = ("10.0.0.1", 80), ("10.0.0.2", 80)


def mesh(action: dict[str, Any] | None = None, policy: dict[str, Any] | None = None, **mirror: Any) -> Mesh:
    mirrored = {"cluster": "copy", "disable_shadow_host_suffix_append": True, **(policy or {})}
    route = {"cluster": "app", "timeout": "0s", "request_mirror_policies": [mirrored], **(action or {})}
    plane = Mesh(
        snapshot(
            clusters=[static_cluster("app", APP), static_cluster("copy", COPY, **mirror)],
            listeners=[listener(connection_manager([{"match": {"prefix": "/"}, "route": route}]))],
        )
    )
    plane.connector.automatic = False
    return plane


def ask(plane: Mesh, request: bytes = GET) -> FakeSocket:
    client = plane.client()
    client.receive(request)
    plane.run()
    return client


def opening(plane: Mesh, to: tuple[str, int]) -> FakeConnecting:
    return next(one for one in reversed(plane.connector.attempts) if one.address == to)


def world(plane: Mesh) -> Any:
    return plane.plane._world


def settled(plane: Mesh) -> bool:
    """No mirror, no request and no waiting place is left."""
    stats = ("upstream_rq_active", "upstream_rq_pending_active")
    return not world(plane).mirrors and all(
        plane.stat(f"cluster.{cluster}.{stat}") == 0 for cluster in ("app", "copy") for stat in stats
    )


def test_the_copy_of_a_request_without_body() -> None:
    plane = mesh()
    client = ask(plane)
    copy = opening(plane, COPY).succeed()
    app = opening(plane, APP).succeed()
    head = copy.take()
    assert head.startswith(b"GET /x HTTP/1.1\r\nhost: a:80\r\n")
    assert b"x-envoy-internal: true\r\n" in head
    assert b"x-forwarded-for: " in head
    assert b"x-envoy-internal" not in app.take()
    copy.receive(b"HTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad")
    assert client.take() == b""
    app.receive(OK)
    assert client.take().endswith(b"ok")
    assert settled(plane)
    assert not copy.closed
    assert plane.stat("cluster.copy.upstream_rq_500") == 1


@pytest.mark.parametrize(
    ("host", "copied"),
    [(b"a", b"a-shadow"), (b"a:80", b"a-shadow:80"), (b"[::1]:80", b"[::1]-shadow:80")],
)
def test_the_host_suffix_where_it_is_asked_for(host: bytes, copied: bytes) -> None:
    plane = mesh(policy={"disable_shadow_host_suffix_append": False})
    ask(plane, b"GET / HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: 10.1.1.1\r\n\r\n" % host)
    head = opening(plane, COPY).succeed().take()
    assert b"\r\nhost: %s\r\n" % copied in head
    assert b"x-forwarded-for: 10.1.1.1," in head


def test_the_body_is_copied_as_it_comes() -> None:
    plane = mesh()
    client = ask(plane, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab")
    app = opening(plane, APP).succeed()
    client.receive(b"cd")
    copy = opening(plane, COPY).succeed()
    assert copy.take().endswith(b"\r\n\r\nabcd")
    client.receive(b"ef")
    assert copy.take() == b"ef"
    assert app.take().endswith(b"\r\n\r\nabcdef")
    copy.receive(OK)
    app.receive(OK)
    assert client.take().endswith(b"ok")
    assert settled(plane)


def test_a_mirror_that_does_not_read_is_given_up() -> None:
    plane = mesh()
    client = ask(plane, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (4 * LIMIT))
    app, copy = opening(plane, APP).succeed(), opening(plane, COPY).succeed()
    copy.capacity = 0
    for _ in range(4 * LIMIT // (64 * 1024)):
        client.receive(b"x" * 64 * 1024)
    assert len(app.take()) > 4 * LIMIT  # the request itself never waited
    assert copy.closed
    assert not world(plane).mirrors
    assert plane.stat("cluster.copy.retry_or_shadow_abandoned") == 1
    app.receive(OK)
    assert client.take().endswith(b"ok")
    assert settled(plane)


def test_a_mirror_without_connection_is_given_up() -> None:
    plane = mesh()
    client = ask(plane, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (2 * LIMIT))
    app = opening(plane, APP).succeed()
    for _ in range(2 * LIMIT // (64 * 1024)):
        client.receive(b"x" * 64 * 1024)
    app.receive(OK)
    assert client.take().endswith(b"ok")
    assert settled(plane)


def test_a_mirror_that_stalls_and_goes_on_gets_everything() -> None:
    plane = mesh()
    client = ask(plane, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 700000\r\n\r\n")
    opening(plane, APP).succeed()
    copy = opening(plane, COPY).succeed()
    copy.take()
    copy.capacity = 1000
    for _ in range(70):
        client.receive(b"x" * 10_000)
    copy.drain()
    assert len(copy.take()) == 700_000
    copy.receive(OK)
    assert not world(plane).mirrors


@pytest.mark.parametrize("how", ["refused", "eof", "garbage", "reset"])
def test_a_mirror_that_fails(how: str) -> None:
    plane = mesh()
    client = ask(plane)
    if how == "refused":
        opening(plane, COPY).fail(UpstreamReset(ResetReason.REMOTE_CONNECTION_FAILURE))
    else:
        copy = opening(plane, COPY).succeed()
        {
            "eof": copy.receive_eof,
            "garbage": lambda: copy.receive(b"what\r\n\r\n"),
            "reset": copy.receive_error,
        }[how]()
    assert not world(plane).mirrors
    opening(plane, APP).succeed().receive(OK)
    assert client.take().endswith(b"ok")
    assert settled(plane)
    assert plane.stat(f"cluster.copy.upstream_rq_{'502' if how == 'garbage' else '503'}") == 1


def test_a_mirror_overflows_without_anybody_noticing() -> None:
    plane = mesh(circuit_breakers={"thresholds": [{"max_pending_requests": 0}]})
    client = ask(plane)
    opening(plane, APP).succeed().receive(OK)
    assert client.take().endswith(b"ok")
    assert settled(plane)
    assert plane.stat("cluster.copy.upstream_rq_pending_overflow") == 1


def test_a_mirror_without_hosts_and_one_without_cluster() -> None:
    for plane in (
        mesh(load_assignment={"cluster_name": "copy", "endpoints": []}),
        mesh(policy={"cluster": "none"}),
    ):
        client = ask(plane)
        opening(plane, APP).succeed().receive(OK)
        assert client.take().endswith(b"ok")
        assert settled(plane)


def test_the_mirror_lives_on_and_its_time_ends() -> None:
    plane = mesh({"timeout": "1s"})
    client = ask(plane)
    copy = opening(plane, COPY).succeed()
    opening(plane, APP).succeed().receive(OK)
    client.receive_eof()
    assert len(world(plane).mirrors) == 1
    plane.run(1.1)
    assert settled(plane)
    assert copy.closed
    assert plane.stat("cluster.copy.upstream_rq_timeout") == 1
    assert plane.stat("cluster.copy.upstream_rq_504") == 1


def test_a_request_that_breaks_off_takes_its_mirror_along() -> None:
    plane = mesh()
    client = ask(plane, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nab")
    copy = opening(plane, COPY).succeed()
    opening(plane, APP).succeed()
    client.receive_eof()
    assert copy.closed
    assert settled(plane)


def test_closing_ends_what_mirrors_are_under_way() -> None:
    plane = mesh()
    client = ask(plane)
    waiting = ask(plane)
    copy = opening(plane, COPY).succeed()
    assert len(world(plane).mirrors) == 2
    plane.plane.close()
    assert not world(plane).mirrors
    assert copy.closed
    assert client.closed
    assert waiting.closed


def test_one_copy_for_all_attempts() -> None:
    plane = mesh({"retry_policy": {"retry_on": "connect-failure", "num_retries": 2}})
    ask(plane)
    for _ in range(3):
        opening(plane, APP).fail(UpstreamReset(ResetReason.REMOTE_CONNECTION_FAILURE))
        plane.run(1)
    assert [one.address for one in plane.connector.attempts].count(COPY) == 1


def test_the_share() -> None:
    share = {"default_value": {"numerator": 25, "denominator": "HUNDRED"}}
    plane = mesh(policy={"runtime_fraction": share})
    draws = iter((0.24, 0.25))
    world(plane).draw = lambda: next(draws)
    for _ in range(2):
        ask(plane)  # one number for the mirrors; the only destination needs none
    assert [one.address for one in plane.connector.attempts].count(COPY) == 1


def test_responses_in_pieces_and_interim_ones_are_thrown_away() -> None:
    plane = mesh()
    ask(plane)
    copy = opening(plane, COPY).succeed()
    for byte in b"HTTP/1.1 100 Continue\r\n\r\n" + OK:
        copy.receive(bytes([byte]))
    assert not world(plane).mirrors
    assert not copy.closed
