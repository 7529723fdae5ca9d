"""Attempts that go on beside the next one, by dialogues."""

from __future__ import annotations

from tests.unit.proxy.in_memory import (
    FakeSocket,
    Mesh,
    connection_manager,
    listener,
    snapshot,
    static_cluster,
)
from tests.unit.proxy.router.test_no_leak import TRUSTING

ASK = b"GET / HTTP/1.1\r\nHost: a\r\nx-envoy-hedge-on-per-try-timeout: true\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def hedged() -> tuple[Mesh, FakeSocket, FakeSocket, FakeSocket]:
    """A request with two attempts under way: the mesh, the client, and both upstreams."""
    action = {
        "cluster": "app",
        "timeout": "5s",
        "retry_policy": {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.3s"},
    }
    plane = Mesh(
        snapshot(
            clusters=[static_cluster("app", ("10.0.0.1", 80))],
            listeners=[
                listener(connection_manager([{"match": {"prefix": "/"}, "route": action}], **TRUSTING))
            ],
        )
    )
    client = plane.client()
    client.receive(ASK)
    plane.run()
    slow = plane.upstream
    plane.run(0.4)
    second = plane.upstream
    assert second is not slow
    return plane, client, slow, second


def test_the_first_answer_wins_whichever_it_is() -> None:
    for winner in (0, 1):
        plane, client, *upstreams = hedged()
        upstreams[winner].receive(OK)
        assert client.take().endswith(b"ok")
        assert upstreams[1 - winner].closed
        assert not upstreams[winner].closed
        assert plane.stat("cluster.app.upstream_rq_active") == 0


def test_the_others_are_given_up_when_an_answer_begins() -> None:
    plane, client, slow, second = hedged()
    second.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    assert slow.closed
    second.receive_eof()
    slow.receive(OK)
    plane.run(2)
    assert client.take().count(b"HTTP/1.1") == 1
    assert client.closed
