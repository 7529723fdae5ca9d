"""Clients that leave before they are answered: whatever they had asked for, nothing of it stays."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.proxy.http.test_conn_manager import GET, OK, mesh
from tests.unit.proxy.in_memory import FakeSocket, Mesh

HALF = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf of it"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
POST = HALF[:-10] + b"x" * 100
GAUGES = ("downstream_cx_active", "downstream_rq_active")
UPSTREAM = ("upstream_cx_active", "upstream_rq_active", "upstream_rq_pending_active")


def left(plane: Mesh) -> dict[str, int]:
    """Gauges that are not 0."""
    names = [*(f"http.test.{name}" for name in GAUGES), *(f"cluster.up.{name}" for name in UPSTREAM)]
    return {name: value for name in names if (value := plane.stat(name))}


def leave(plane: Mesh, client: FakeSocket, how: str) -> None:
    if how == "reset":
        client.receive_error()
    elif how == "hangup":
        plane.hangups.end(client)
    else:
        client.receive_eof()
        client.receive_eof()  # an end is there each time it is looked for


@pytest.mark.parametrize("how", ["eof", "reset"])
@pytest.mark.parametrize(
    "sent",
    [
        [GET],
        [HALF],
        [CHUNKED],
        [GET + GET],
        [GET, GET],
        [GET, GET, GET],
        [POST + GET],
        [GET, GET[:20]],
        [GET * 8],
    ],
)
@pytest.mark.parametrize("connected", [True, False])
def test_an_upstream_is_not_kept_waiting_for_a_client_that_left(
    sent: list[bytes], how: str, connected: bool
) -> None:
    """Also where more was asked for before the first answer: Envoy sees that end as well."""
    plane = mesh()
    client = plane.client()
    for data in sent:
        client.receive(data)
        if connected:
            plane.run()
    leave(plane, client, how)
    assert client.closed
    plane.run()
    for upstream in plane.connector.sockets:
        upstream.receive(OK)  # to whoever was connected for nobody
    assert left(plane) in (
        {},
        {"cluster.up.upstream_cx_active": 1},
    )  # one is kept idle that was made too late
    assert [info.response_code_details for info in plane.infos] == ["downstream_remote_disconnect"]


@pytest.mark.parametrize("sent", [GET, HALF, GET + GET, GET * 40])
def test_who_left_with_a_part_of_an_answer_unread_is_gone_at_once(sent: bytes) -> None:
    """An end comes once; and what the client has not taken is not kept for it. As Envoy, which knows no half-open clients of HTTP."""
    plane = mesh()
    client = plane.client()
    client.capacity = 10
    client.receive(sent)
    plane.run()
    plane.upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 500)
    if client.fd in plane.hangups.watched:
        plane.hangups.watched.pop(client.fd)()
    else:
        client.receive_eof()
    assert client.closed
    assert plane.upstream.closed
    plane.run()
    assert left(plane) == {}
    assert not plane.hangups.watched


LONG = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n"


@pytest.mark.parametrize("sent", [[GET * 40], [GET, GET * 40], [GET + HALF], [GET + HALF, b"x" * 20]])
def test_who_leaves_while_nothing_is_read_is_noticed(sent: list[bytes]) -> None:
    """As in Envoy, which would wait for ever, too, if it only looked at what it reads."""
    plane = mesh()
    client = plane.client()
    for data in sent:
        client.receive(data)
    plane.run()
    assert client.fd not in plane.loop.readers
    plane.hangups.end(client)
    assert client.closed
    assert plane.upstream.closed
    assert left(plane) == {}
    assert not plane.hangups.watched


def test_who_leaves_a_long_body_that_the_upstream_does_not_take_is_noticed() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(LONG)
    plane.run()
    plane.upstream.capacity = 0
    for _ in range(20):
        client.receive(b"x" * 65000)
    assert client.incoming
    plane.hangups.end(client)
    assert client.closed
    assert plane.upstream.closed
    assert left(plane) == {}


def test_a_client_that_stays_is_read_on_and_watched_no_more() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(LONG)
    plane.run()
    plane.upstream.capacity = 0
    for _ in range(20):
        client.receive(b"x" * 65000)
    assert plane.hangups.watched
    plane.upstream.drain()
    client.readable()
    assert not client.incoming
    assert not plane.hangups.watched
    assert plane.upstream.take().endswith(b"x" * 20 * 65000)


@pytest.mark.parametrize("waiting", [2, 8, 9, 40])
def test_all_that_was_asked_ahead_is_answered_in_order(waiting: int) -> None:
    """However much comes at once, or later; what is held is bounded."""
    plane = mesh()
    client = plane.client()
    for n in range(waiting):
        client.receive(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n)
    assert len(client.incoming) == max(0, waiting - 9)
    plane.run()
    for n in range(waiting):
        assert plane.upstream.take().startswith(b"GET /%d " % n)
        plane.upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % (n % 10))
        client.readable()
        plane.run()
        assert client.take().endswith(b"\r\n\r\n%d" % (n % 10))
    assert not client.incoming


def test_the_body_of_a_request_that_waits_is_not_read_on() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(GET + HALF)
    plane.run()
    client.receive(b"x" * 50)
    assert client.incoming == [b"x" * 50]
    plane.upstream.take()
    plane.upstream.receive(OK)
    client.readable()
    plane.run()
    assert plane.upstream.take().endswith(b"\r\n\r\nhalf of it" + b"x" * 50)


STEPS = st.lists(
    st.sampled_from(
        ["get", "half", "chunk", "post", "piece", "answer", "half answer", "run", "drop upstream"]
    ),
    max_size=12,
)
_SENT = {"get": GET, "half": HALF, "chunk": CHUNKED, "post": POST, "piece": GET[:17]}
_ANSWERS = {"answer": OK, "half answer": OK[:-1], "drop upstream": b""}


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from(["eof", "reset", "hangup"]))
def test_whatever_happened_before_nothing_stays_of_a_client_that_left(steps: list[str], how: str) -> None:
    plane = mesh()
    client = plane.client()
    for step in steps:
        if step in _SENT and not client.closed:
            client.receive(_SENT[step])
        elif step in _ANSWERS and plane.connector.sockets and not plane.upstream.closed:
            plane.upstream.receive(_ANSWERS[step])
        else:
            plane.run()
        client.readable()
    if not client.closed:
        leave(plane, client, how)
    assert how != "hangup" or client.closed
    for _ in range(
        len(steps) + 1
    ):  # an end behind the body of a request that waits is seen when it is that one's turn
        plane.run(10)  # beyond the time a client has to read why it was cut off
        for upstream in plane.connector.sockets:
            upstream.receive_eof()
        client.readable()
    assert client.closed
    assert left(plane) == {}
