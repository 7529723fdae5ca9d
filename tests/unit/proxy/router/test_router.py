"""The attempt loop by dialogues: retries, timeouts and Envoy's reply for every way an upstream can fail."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.observability import response_flags
from proxy.upstream.failure import ResetReason, UpstreamReset
from tests.unit.proxy.in_memory import (
    FakeSocket,
    Mesh,
    connection_manager,
    listener,
    snapshot,
    static_cluster,
)

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PREFIX = b"upstream connect error or disconnect/reset before headers. "
REFUSED = UpstreamReset(ResetReason.REMOTE_CONNECTION_FAILURE, "delayed connect error: Connection refused")


def mesh(
    action: dict[str, Any] | None = None,
    *,
    route: dict[str, Any] | None = None,
    hosts: int = 1,
    vhost: dict[str, Any] | None = None,
    **cluster: Any,
) -> Mesh:
    chosen = route or {
        "match": {"prefix": "/"},
        "route": {"cluster": "up", "timeout": "0s", **(action or {})},
    }
    plane = Mesh(
        snapshot(
            clusters=[
                static_cluster("up", *[(f"10.0.0.{n + 1}", 80) for n in range(hosts)], **cluster),
                static_cluster("empty"),
            ],
            listeners=[listener(connection_manager([chosen], vhost=vhost))],
        )
    )
    for chain in plane.plane.listeners.listeners["l"].chains:
        filter_: Any = chain.network_filter
        object.__setattr__(filter_.settings, "loggers", (plane.infos.append,))
    return plane  # fmt: skip


def ask(plane: Mesh, request: bytes = GET) -> FakeSocket:
    client = plane.client()
    client.receive(request)
    plane.run()
    return client


def outcome(plane: Mesh, client: FakeSocket) -> tuple[bytes, bytes, str, str]:
    """Status line without version, body, flags and details."""
    head, _, body = client.take().partition(b"\r\n\r\n")
    info = plane.infos[-1]
    return (
        head.split(b"\r\n")[0][9:],
        body,
        response_flags.text(info.response_flags),
        info.response_code_details,
    )


def test_no_route() -> None:
    plane = mesh(route={"match": {"prefix": "/else"}, "route": {"cluster": "up"}})
    assert outcome(plane, ask(plane)) == (b"404 Not Found", b"", "NR", "route_not_found")


def test_no_cluster() -> None:
    plane = mesh({"cluster": "nowhere"})
    assert outcome(plane, ask(plane)) == (b"503 Service Unavailable", b"", "NC", "cluster_not_found")


def test_no_host() -> None:
    plane = mesh({"cluster": "empty"})
    expected = (b"503 Service Unavailable", b"no healthy upstream", "UH", "no_healthy_upstream")
    assert outcome(plane, ask(plane)) == expected


@pytest.mark.parametrize(
    ("failure", "status", "flag"),
    [
        (REFUSED, b"503 Service Unavailable", "UF"),
        (UpstreamReset(ResetReason.CONNECTION_TIMEOUT), b"503 Service Unavailable", "UF"),
        (UpstreamReset(ResetReason.LOCAL_CONNECTION_FAILURE, "bind"), b"503 Service Unavailable", "UF"),
    ],
)
def test_connect_failures(failure: UpstreamReset, status: bytes, flag: str) -> None:
    plane = mesh()
    plane.connector.automatic = False
    client = ask(plane)
    plane.connector.attempts[0].fail(failure)
    got = outcome(plane, client)
    assert got[:3] == (status, PREFIX + b"reset reason: " + failure.reason.text.encode(), flag)
    assert got[3].startswith(
        "upstream_reset_before_response_started{" + failure.reason.text.replace(" ", "_")
    )
    transport = failure.transport and failure.transport.replace(" ", "_")
    assert plane.infos[-1].upstream_transport_failure_reason == transport


def test_the_upstream_goes_before_answering() -> None:
    plane = mesh()
    client = ask(plane)
    plane.upstream.receive_eof()
    assert outcome(plane, client) == (
        b"503 Service Unavailable",
        PREFIX + b"reset reason: connection termination",
        "UC",
        "upstream_reset_before_response_started{connection_termination}",
    )


def test_the_upstream_speaks_no_http() -> None:
    plane = mesh()
    client = ask(plane)
    plane.upstream.receive(b"blah blah\r\n\r\n")
    assert outcome(plane, client) == (
        b"502 Bad Gateway",
        PREFIX + b"reset reason: protocol error",
        "UPE",
        "upstream_reset_before_response_started{protocol_error}",
    )


def test_the_upstream_goes_inside_its_answer() -> None:
    plane = mesh()
    client = ask(plane)
    plane.upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome")
    plane.upstream.receive_eof()
    got = outcome(plane, client)
    assert got == (b"200 OK", b"some", "UPE", "upstream_reset_after_response_started{protocol_error}")
    plane.run(1.1)
    assert client.closed


RETRY = {
    "retry_policy": {"retry_on": "connect-failure,refused-stream,unavailable,cancelled", "num_retries": 2}
}


def test_connect_failures_are_retried_until_exhausted() -> None:
    plane = mesh(RETRY)
    plane.connector.automatic = False
    client = ask(plane)
    for n in range(3):
        assert len(plane.connector.attempts) == n + 1
        plane.connector.attempts[n].fail(REFUSED)
        plane.run(1)
    got = outcome(plane, client)
    assert got[1] == PREFIX + b"retried and the latest reset reason: remote connection failure"
    assert {"UF", "URX"} == set(got[2].split(","))
    assert plane.stat("cluster.up.upstream_rq_retry") == 2
    assert plane.stat("cluster.up.upstream_rq_retry_limit_exceeded") == 1


def test_a_retry_may_succeed() -> None:
    plane = mesh(RETRY)
    plane.connector.automatic = False
    client = ask(plane)
    plane.connector.attempts[0].fail(REFUSED)
    plane.run(1)
    plane.connector.attempts[1].succeed().receive(OK)
    assert outcome(plane, client) == (b"200 OK", b"ok", "-", "via_upstream")
    assert plane.stat("cluster.up.upstream_rq_retry_success") == 1


def test_istio_default_does_not_retry_a_503() -> None:
    plane = mesh(RETRY)
    client = ask(plane)
    plane.upstream.receive(b"HTTP/1.1 503 Nope\r\nContent-Length: 0\r\n\r\n")
    assert outcome(plane, client) == (b"503 Service Unavailable", b"", "-", "via_upstream")


@pytest.mark.parametrize(
    ("policy", "response", "retried"),
    [
        ({"retry_on": "5xx"}, b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", True),
        ({"retry_on": "gateway-error"}, b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", False),
        ({"retry_on": "gateway-error"}, b"HTTP/1.1 502 X\r\nContent-Length: 0\r\n\r\n", True),
        ({"retry_on": "retriable-4xx"}, b"HTTP/1.1 409 X\r\nContent-Length: 0\r\n\r\n", True),
        ({"retry_on": "retriable-status-codes", "retriable_status_codes": [418]}, b"HTTP/1.1 418 X\r\nContent-Length: 0\r\n\r\n", True),
        ({"retry_on": "5xx"}, b"HTTP/1.1 500 X\r\nx-envoy-ratelimited: true\r\nContent-Length: 0\r\n\r\n", False),
        ({"retry_on": "unavailable"}, b"HTTP/1.1 200 X\r\ngrpc-status: 14\r\nContent-Length: 0\r\n\r\n", True),
    ],
)  # fmt: skip
def test_which_responses_are_retried(policy: dict[str, Any], response: bytes, retried: bool) -> None:
    plane = mesh({"retry_policy": {"num_retries": 1, **policy}})
    client = ask(plane)
    first = plane.upstream
    first.take()
    first.receive(response)
    plane.run(1)
    assert (plane.stat("cluster.up.upstream_rq_retry") == 1) is retried
    if retried:
        plane.upstream.receive(OK)
        assert outcome(plane, client)[0] == b"200 OK"


def test_a_body_is_sent_again() -> None:
    plane = mesh(
        {"retry_policy": {"retry_on": "5xx", "num_retries": 1}}, vhost={"include_request_attempt_count": True}
    )
    client = ask(plane, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
    client.receive(b"def")
    first = plane.upstream.take()
    assert b"x-envoy-attempt-count: 1" in first
    assert first.endswith(b"abcdef")
    plane.upstream.receive_eof()
    plane.run(1)
    second = plane.upstream.take()
    assert b"x-envoy-attempt-count: 2" in second
    assert second.endswith(b"\r\n\r\nabcdef")
    plane.upstream.receive(OK)
    assert outcome(plane, client)[0] == b"200 OK"


def test_a_body_too_long_to_keep_is_not_sent_again() -> None:
    plane = mesh({"retry_policy": {"retry_on": "5xx", "num_retries": 1}})
    size = 1200 * 1024
    client = ask(plane, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
    for _ in range(size // 1024 // 60):
        client.receive(b"x" * 60 * 1024)
    plane.upstream.receive(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n")
    assert outcome(plane, client)[0] == b"500 Internal Server Error"


def test_previous_hosts_are_avoided() -> None:
    previous = {
        "retry_on": "connect-failure", "num_retries": 1, "host_selection_retry_max_attempts": "20",
        "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts"}],
    }  # fmt: skip
    for _ in range(20):
        plane = mesh({"retry_policy": previous}, hosts=2, lb_policy="RANDOM")
        plane.connector.automatic = False
        ask(plane)
        plane.connector.attempts[0].fail(REFUSED)
        plane.run(1)
        assert plane.connector.attempts[0].address != plane.connector.attempts[1].address
        plane.plane.close()


def test_inbound_default_retries_only_before_the_request_was_sent() -> None:
    plane = mesh({"retry_policy": {"retry_on": "reset-before-request", "num_retries": 2}})
    plane.connector.automatic = False
    client = ask(plane)
    plane.connector.attempts[0].fail(REFUSED)
    plane.run(1)
    plane.connector.attempts[1].succeed().receive_eof()
    assert outcome(plane, client)[2] == "UC"


def test_the_route_timeout() -> None:
    plane = mesh({"timeout": "0.3s"})
    client = ask(plane)
    assert b"x-envoy-expected-rq-timeout-ms: 300" in plane.upstream.take()
    plane.run(0.29)
    assert client.take() == b""
    plane.run(0.03)
    assert outcome(plane, client) == (
        b"504 Gateway Timeout",
        b"upstream request timeout",
        "UT",
        "response_timeout",
    )
    assert plane.upstream.closed
    assert plane.stat("cluster.up.upstream_rq_timeout") == 1


def test_the_per_try_timeout() -> None:
    policy = {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.1s"}
    plane = mesh({"timeout": "1s", "retry_policy": policy})
    client = ask(plane)
    plane.run(0.2)
    assert len(plane.connector.sockets) == 2
    plane.run(0.5)
    assert outcome(plane, client)[3] == "upstream_per_try_timeout"
    assert plane.stat("cluster.up.upstream_rq_per_try_timeout") == 2


def test_request_overflow() -> None:
    plane = mesh(circuit_breakers={"thresholds": [{"max_requests": 1, "max_pending_requests": 1}]})
    ask(plane)
    second = ask(plane)
    got = outcome(plane, second)
    assert got[1:] == (
        PREFIX + b"reset reason: overflow",
        "UO",
        "upstream_reset_before_response_started{overflow}",
    )


def test_pending_requests_wait_for_a_connection() -> None:
    plane = mesh(circuit_breakers={"thresholds": [{"max_connections": 1}]})
    first = ask(plane)
    second = ask(plane)
    assert len(plane.connector.sockets) == 1
    plane.upstream.receive(OK)
    assert first.take().endswith(b"ok")
    plane.upstream.receive(OK)
    assert second.take().endswith(b"ok")
    assert plane.stat("cluster.up.upstream_cx_overflow") >= 1


def test_max_requests_per_connection() -> None:
    options = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"max_requests_per_connection": 1},
            "explicit_http_config": {"http_protocol_options": {}},
        }
    }
    plane = mesh(typed_extension_protocol_options=options)
    for _ in range(2):
        client = ask(plane)
        plane.upstream.receive(OK)
        assert client.take().endswith(b"ok")
        assert plane.upstream.closed
    assert len(plane.connector.sockets) == 2


def test_an_idle_upstream_connection_that_closes_is_not_used() -> None:
    plane = mesh()
    ask(plane)
    plane.upstream.receive(OK)
    plane.upstream.receive_eof()
    client = ask(plane)
    assert len(plane.connector.sockets) == 2
    plane.upstream.receive(OK)
    assert client.take().endswith(b"ok")


def test_direct_response_and_redirect() -> None:
    plane = mesh(
        route={"match": {"prefix": "/"}, "direct_response": {"status": 418, "body": {"inline_string": "tea"}}}
    )
    assert outcome(plane, ask(plane)) == (b"418 Unknown", b"tea", "-", "direct_response")
    plane = mesh(
        route={"match": {"prefix": "/"}, "redirect": {"path_redirect": "/x", "https_redirect": True}}
    )
    client = ask(plane, b"GET /?q=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b"location: https://a/x?q=1\r\n" in client.take()


def test_header_operations_and_rewrites() -> None:
    route = {
        "match": {"prefix": "/a"},
        "route": {"cluster": "up", "timeout": "0s", "prefix_rewrite": "/b", "host_rewrite_literal": "c"},
        "request_headers_to_add": [{"header": {"key": "X-Add", "value": "1%%"}}],
        "request_headers_to_remove": ["X-Gone"],
        "response_headers_to_add": [{"header": {"key": "X-Resp", "value": "%RESPONSE_FLAGS%"}}],
        "response_headers_to_remove": ["X-Secret"],
    }
    plane = mesh(route=route)
    client = ask(plane, b"GET /a/c?d HTTP/1.1\r\nHost: a\r\nX-Gone: 1\r\n\r\n")
    got = plane.upstream.take()
    assert got.startswith(b"GET /b/c?d HTTP/1.1\r\nhost: c\r\n")
    assert b"x-add: 1%\r\n" in got
    assert b"x-gone" not in got
    assert b"x-envoy-original-path: /a/c?d\r\n" in got
    plane.upstream.receive(b"HTTP/1.1 200 OK\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n")
    answer = client.take()
    assert b"x-resp: -\r\n" in answer
    assert b"x-secret" not in answer


def test_weighted_clusters_are_drawn_by_weight() -> None:
    route = {
        "match": {"prefix": "/"},
        "route": {
            "weighted_clusters": {"clusters": [{"name": "up", "weight": 90}, {"name": "empty", "weight": 10}]}
        },
    }
    plane = mesh(route=route)
    for _ in range(300):
        client = ask(plane)
        client.receive_eof()
    counts = [sum(info.upstream_cluster == name for info in plane.infos) for name in ("up", "empty")]
    assert sum(counts) == 300
    assert 5 <= counts[1] <= 70
