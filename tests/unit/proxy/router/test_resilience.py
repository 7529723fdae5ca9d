"""Time, retries and bodies together, by dialogues: what Envoy does where two of them meet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.proxy.in_memory import (
    FakeSocket,
    Mesh,
    connection_manager,
    listener,
    snapshot,
    static_cluster,
)
from tests.unit.proxy.router.test_router import GET, OK, REFUSED, ask, mesh, outcome

MIB = 1024 * 1024
SLOW_RETRY = {
    "retry_on": "5xx",
    "num_retries": 1,
    "retry_back_off": {"base_interval": "3600s", "max_interval": "3600s"},
}


def post(size: int, body: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + body


def feed(client: FakeSocket, size: int) -> None:
    for at in range(0, size, 60 * 1024):
        client.receive(b"x" * min(60 * 1024, size - at))


def test_the_time_counts_while_there_is_no_connection() -> None:
    plane = mesh({"timeout": "0.3s"})
    plane.connector.automatic = False
    client = ask(plane, post(100_000))
    feed(client, 100_000)
    plane.run(0.4)
    assert outcome(plane, client)[0] == b"504 Gateway Timeout"
    assert plane.stat("cluster.up.upstream_rq_timeout") == 1
    assert plane.stat("cluster.up.upstream_rq_pending_active") == 0


def test_the_time_does_not_count_before_the_request_is_complete() -> None:
    plane = mesh({"timeout": "0.3s"})
    client = ask(plane, post(4, b"ab"))
    plane.run(1)
    assert client.take() == b""
    client.receive(b"cd")
    plane.run(0.4)
    assert outcome(plane, client)[0] == b"504 Gateway Timeout"


def test_an_attempt_that_answers_early_is_in_time() -> None:
    plane = mesh({"retry_policy": {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.3s"}})
    client = ask(plane, post(4, b"ab"))
    plane.upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok")
    client.receive(b"cd")  # only now would the attempt's time begin
    plane.run(1)
    plane.upstream.receive(b"ay")
    assert client.take().endswith(b"okay")
    assert plane.stat("cluster.up.upstream_rq_per_try_timeout") == 0


def test_the_time_is_up_between_two_attempts() -> None:
    plane = mesh({"timeout": "0.3s", "retry_policy": SLOW_RETRY})
    plane.connector.automatic = False
    client = ask(plane)
    plane.connector.attempts[0].fail(REFUSED)
    plane.run(0.4)
    assert outcome(plane, client)[:3] == (b"504 Gateway Timeout", b"upstream request timeout", "UT")
    assert plane.stat("cluster.up.upstream_rq_timeout") == 0  # no attempt was to blame
    assert plane.stat("cluster.up.upstream_rq_retry") == 0  # nor had the retry begun
    plane.run(60)
    assert len(plane.connector.attempts) == 1


def test_too_much_body_between_two_attempts() -> None:
    plane = mesh({"retry_policy": SLOW_RETRY})
    plane.connector.automatic = False
    client = ask(plane, post(2 * MIB))
    plane.connector.attempts[0].fail(REFUSED)
    feed(client, 2 * MIB)
    assert outcome(plane, client) == (
        b"507 Insufficient Storage",
        b"exceeded request buffer limit while retrying upstream",
        "-",
        "request_payload_exceeded_retry_buffer_limit",
    )
    assert plane.stat("cluster.up.retry_or_shadow_abandoned") == 1


@pytest.mark.parametrize(("size", "retried"), [(MIB, True), (MIB + 1, False)])
def test_the_limit_of_what_is_sent_again(size: int, retried: bool) -> None:
    plane = mesh({"retry_policy": {"retry_on": "5xx", "num_retries": 1}})
    client = ask(plane, post(size))
    feed(client, size)
    plane.upstream.receive_eof()
    plane.run(1)
    assert (len(plane.connector.sockets) == 2) is retried
    if retried:
        assert len(plane.upstream.take().partition(b"\r\n\r\n")[2]) == size
    else:
        assert outcome(plane, client)[2] == "UC"  # not URX: there was no policy any more
        assert plane.stat("cluster.up.retry_or_shadow_abandoned") == 1


def test_a_long_body_waits_for_its_connection() -> None:
    plane = mesh()
    plane.connector.automatic = False
    client = ask(plane, post(3 * MIB))
    feed(client, 3 * MIB)
    assert client.incoming  # held back: no more than the limit is read
    upstream = plane.connector.attempts[0].succeed()
    client.readable()
    assert len(upstream.take().partition(b"\r\n\r\n")[2]) == 3 * MIB
    upstream.receive(OK)
    assert client.take().endswith(b"ok")


def test_a_retried_response_without_body_leaves_its_connection() -> None:
    plane = mesh({"retry_policy": {"retry_on": "5xx", "num_retries": 2}})
    client = ask(plane)
    plane.upstream.receive(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
    plane.run(1)
    assert len(plane.connector.sockets) == 1
    plane.upstream.receive(b"HTTP/1.1 503 X\r\nContent-Length: 2\r\n\r\nno")
    plane.run(1)
    assert len(plane.connector.sockets) == 2
    plane.upstream.receive(OK)
    assert outcome(plane, client)[0] == b"200 OK"
    assert plane.stat("cluster.up.retry.upstream_rq_503") == 2
    assert plane.stat("cluster.up.upstream_rq_completed") == 1


def test_too_early_is_tried_again_at_once() -> None:
    policy = {**SLOW_RETRY, "retry_on": "retriable-status-codes", "retriable_status_codes": [425]}
    plane = mesh({"retry_policy": policy})
    client = ask(plane)
    plane.upstream.receive(b"HTTP/1.1 425 X\r\nContent-Length: 0\r\n\r\n")
    plane.upstream.receive(OK)
    assert outcome(plane, client)[0] == b"200 OK"
    assert plane.stat("cluster.up.upstream_rq_retry") == 1
    assert plane.stat("cluster.up.upstream_rq_retry_backoff_exponential") == 0


def test_a_byte_that_was_sent_once_rules_out_reset_before_request() -> None:
    plane = mesh({"retry_policy": {"retry_on": "reset-before-request,connect-failure", "num_retries": 3}})
    plane.connector.automatic = False
    client = ask(plane)
    plane.connector.attempts[0].succeed().receive_eof()
    plane.run(1)
    assert outcome(plane, client)[2] == "UC"
    assert len(plane.connector.attempts) == 1


def test_only_some_requests_are_retried() -> None:
    policy = {
        "retry_on": "5xx",
        "num_retries": 1,
        "retriable_request_headers": [{"name": ":method", "string_match": {"exact": "PUT"}}],
    }
    plane = mesh({"retry_policy": policy})
    for method, attempts in ((b"GET", 1), (b"PUT", 2)):
        client = ask(plane, method + b" / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        before = plane.stat("cluster.up.upstream_rq_total")
        for _ in range(attempts):
            plane.upstream.receive(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
            plane.run(1)
        assert plane.stat("cluster.up.upstream_rq_total") - before == attempts - 1
        assert client.take().startswith(b"HTTP/1.1 503")


def test_the_longest_a_request_may_last() -> None:
    plane = mesh({"max_stream_duration": {"max_stream_duration": "0.5s"}})
    client = ask(plane)
    plane.run(0.6)
    assert outcome(plane, client) == (
        b"504 Gateway Timeout",
        b"downstream duration timeout",
        "-",
        "max_duration_timeout",
    )
    assert plane.upstream.closed
    client.receive(GET)  # the connection stays
    plane.run()
    plane.upstream.receive(OK)
    assert client.take().endswith(b"ok")
    slow = ask(plane, post(10, b"abc"))
    plane.run(0.6)
    assert slow.take().startswith(b"HTTP/1.1 408 ")
    assert plane.stat("http.test.downstream_rq_max_duration_reached") == 2


def test_grpc_clients_say_how_long() -> None:
    plane = mesh({"max_grpc_timeout": "0s"})
    request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\ngrpc-timeout: 300m\r\nContent-Length: 0\r\n\r\n"
    client = ask(plane, request)
    head = plane.upstream.take()
    assert b"grpc-timeout: 300m\r\n" in head
    assert b"x-envoy-expected-rq-timeout-ms: 300\r\n" in head
    plane.run(0.4)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"grpc-status: 14\r\n" in answer


def trusting(action: dict[str, Any] | None = None, **manager: Any) -> Mesh:
    networks = {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 24}]}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s", **(action or {})}}
    settings = {"use_remote_address": True, "internal_address_config": networks, **manager}
    return Mesh(
        snapshot(
            clusters=[static_cluster("up", ("10.0.0.7", 80))],
            listeners=[listener(connection_manager([route], **settings))],
        )
    )


STEERING = b"x-envoy-retry-on: 5xx\r\nx-envoy-upstream-rq-timeout-ms: 900\r\n"


@pytest.mark.parametrize(
    ("manager", "forwarded", "trusted"),
    [
        ({}, b"", True),
        ({}, b"x-forwarded-for: 10.0.0.4\r\n", False),  # it names another: who knows
        ({"internal_address_config": {}}, b"", False),
        ({"use_remote_address": False}, b"", False),
        ({"use_remote_address": False}, b"x-forwarded-for: 10.0.0.4\r\n", True),
        ({"use_remote_address": False}, b"x-forwarded-for: 10.9.0.4\r\n", False),
        ({"use_remote_address": False}, b"x-forwarded-for: 10.0.0.4, 10.0.0.4\r\n", False),
        ({"use_remote_address": False}, b"x-forwarded-for: me\r\n", False),
        ({"use_remote_address": False, "xff_num_trusted_hops": 1}, b"x-forwarded-for: 10.0.0.4\r\n", False),
    ],
)
def test_who_may_steer(manager: dict[str, Any], forwarded: bytes, trusted: bool) -> None:
    plane = trusting(**manager)
    client = plane.client()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\nx-envoy-internal: x\r\n" + forwarded + STEERING + b"\r\n")
    plane.run()
    head = plane.upstream.take()
    assert b"x-envoy-retry-on" not in head
    assert b"x-envoy-upstream-rq-timeout-ms" not in head
    assert (b"x-envoy-internal: true\r\n" in head) is trusted
    assert (b"x-envoy-expected-rq-timeout-ms: 900\r\n" in head) is trusted
    plane.upstream.receive(b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
    plane.run(0.1)
    assert (client.take() == b"") is trusted  # retried


def test_a_stream_duration_of_the_callers() -> None:
    plane = trusting({"retry_policy": {"retry_on": "reset", "num_retries": 1}})
    client = plane.client()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\nx-envoy-upstream-stream-duration-ms: 200\r\n\r\n")
    plane.run(0.3)
    assert len(plane.connector.sockets) == 2
    plane.run(0.5)
    assert client.take().endswith(b"upstream max stream duration reached")
    assert plane.stat("cluster.up.upstream_rq_max_duration_reached") == 2
