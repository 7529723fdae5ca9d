"""The connection manager by dialogues: bytes of a client and of an upstream in, bytes to both out."""

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

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def mesh(*routes: dict[str, Any], cluster: dict[str, Any] | None = None, **fields: Any) -> Mesh:
    chosen = list(routes) or [{"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s"}}]
    plane = Mesh(
        snapshot(
            clusters=[static_cluster("up", ("10.0.0.7", 80), **(cluster or {}))],
            listeners=[listener(connection_manager(chosen, **fields))],
        )
    )
    for chain in plane.plane.listeners.listeners["l"].chains:
        filter_: Any = chain.network_filter
        object.__setattr__(filter_.settings, "loggers", (plane.infos.append,))
    return plane


def exchange(plane: Mesh, client: FakeSocket, request: bytes, response: bytes = OK) -> tuple[bytes, bytes]:
    """What the upstream got and what the client got."""
    client.receive(request)
    plane.run()
    got = plane.upstream.take()
    plane.upstream.receive(response)
    return got, client.take()


def head(data: bytes) -> list[bytes]:
    return data.partition(b"\r\n\r\n")[0].split(b"\r\n")


def test_headers_are_mutated_as_envoy_does() -> None:
    plane = mesh()
    request = (
        b"GET /x HTTP/1.1\r\nHost: a\r\nX-Envoy-Internal: true\r\nX-Envoy-Max-Retries: 3\r\nX-Foo: 1\r\nX-Bar: 2\r\n"
        b"Connection: keep-alive, x-bar\r\nKeep-Alive: 5\r\nTE: gzip, trailers\r\nX-Forwarded-Client-Cert: forged\r\n\r\n"
    )
    got, answer = exchange(plane, plane.client(), request)
    lines = head(got)
    assert lines[0] == b"GET /x HTTP/1.1"
    assert lines[1:5] == [b"host: a", b"x-foo: 1", b"te: trailers", b"x-forwarded-proto: http"]
    assert lines[5].startswith(b"x-request-id: ")
    assert len(lines) == 6
    assert head(answer)[0] == b"HTTP/1.1 200 OK"
    assert b"server: envoy" in head(answer)
    assert b"x-envoy-upstream-service-time: 0" in head(answer)
    assert answer.endswith(b"\r\n\r\nok")


def test_a_client_certificate_is_forwarded_only_from_tls() -> None:
    plane = mesh(forward_client_cert_details="APPEND_FORWARD")
    forged = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: forged\r\n\r\n"
    got, _ = exchange(plane, plane.client(), forged)
    assert b"x-forwarded-client-cert" not in got


def test_keep_alive_reuses_the_upstream_connection() -> None:
    plane = mesh()
    client = plane.client()
    for _ in range(3):
        exchange(plane, client, GET)
    assert len(plane.connector.sockets) == 1
    assert plane.stat("cluster.up.upstream_rq_total") == 3
    assert plane.stat("http.test.downstream_rq_2xx") == 3
    assert plane.stat("cluster.up.upstream_rq_active") == 0


def test_pipelined_requests_are_answered_in_order() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(3)))
    plane.run()
    for n in range(3):
        got = plane.upstream.take()
        assert got.startswith(b"GET /%d " % n)
        plane.upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % n)
        assert client.take().endswith(b"\r\n\r\n%d" % n)
        plane.run()


@pytest.mark.parametrize("at", range(1, len(GET)))
def test_a_request_may_arrive_in_any_two_pieces(at: int) -> None:
    plane = mesh()
    client = plane.client()
    client.receive(GET[:at])
    got, answer = exchange(plane, client, GET[at:])
    assert got.startswith(b"GET / HTTP/1.1\r\nhost: a\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("downstream", [True, False])
@pytest.mark.parametrize("upstream", [True, False])
def test_trailers_pass_where_both_sides_enable_them(downstream: bool, upstream: bool) -> None:
    options = {"explicit_http_config": {"http_protocol_options": {"enable_trailers": upstream}}}
    http = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    typed = {http: {"@type": f"type.googleapis.com/{http}", **options}}
    plane = mesh(
        cluster={"typed_extension_protocol_options": typed},
        http_protocol_options={"enable_trailers": downstream},
    )
    client = plane.client()
    client.receive(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    plane.run()
    both = downstream and upstream
    assert plane.upstream.take().endswith(b"0\r\nx-sum: 1\r\n\r\n" if both else b"hi\r\n0\r\n\r\n")
    plane.upstream.receive(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 2\r\n\r\n"
    )
    assert client.take().endswith(b"0\r\nx-sum: 2\r\n\r\n" if both else b"ok\r\n0\r\n\r\n")


def test_chunked_bodies_stream_both_ways() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    plane.run()
    got = plane.upstream.take()
    assert got.endswith(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    client.receive(b"2\r\nde\r\n0\r\n\r\n")
    assert plane.upstream.take() == b"2\r\nde\r\n0\r\n\r\n"
    plane.upstream.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
    assert client.take().endswith(b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
    plane.upstream.receive(b"0\r\n\r\n")
    assert client.take() == b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "ending"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"server: envoy\r\n\r\n"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", b"server: envoy\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"server: envoy\r\n\r\n"),
    ],
)
def test_responses_without_a_body(response: bytes, ending: bytes) -> None:
    plane = mesh()
    client = plane.client()
    _, answer = exchange(plane, client, GET, response)
    assert answer.endswith(ending)
    _, second = exchange(plane, client, GET)
    assert second.endswith(b"ok")


def test_a_head_response_has_no_body() -> None:
    plane = mesh()
    client = plane.client()
    _, answer = exchange(
        plane, client, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
    )
    assert b"content-length: 7" in head(answer)
    assert answer.endswith(b"\r\n\r\n")
    _, second = exchange(plane, client, GET)
    assert second.endswith(b"ok")


def test_a_body_until_eof_becomes_chunked() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(GET)
    plane.run()
    plane.upstream.receive(b"HTTP/1.1 200 OK\r\n\r\nsome")
    plane.upstream.receive_eof()
    assert client.take().endswith(b"transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n\r\n")
    exchange(plane, client, GET)
    assert len(plane.connector.sockets) == 2


def test_connection_close_is_honoured_on_both_sides() -> None:
    plane = mesh()
    client = plane.client()
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    _, answer = exchange(plane, client, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", closing)
    assert b"connection: close" in head(answer)
    assert client.closed
    assert plane.upstream.closed


def test_expect_100_continue_is_answered_here_unless_proxied() -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    plane = mesh()
    client = plane.client()
    client.receive(request)
    plane.run()
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"expect" not in plane.upstream.take()

    plane = mesh(proxy_100_continue=True)
    client = plane.client()
    client.receive(request)
    plane.run()
    assert client.take() == b""
    assert b"expect: 100-continue" in plane.upstream.take()
    plane.upstream.receive(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.receive(b"ab")
    assert plane.upstream.take() == b"ab"


def test_a_websocket_is_opaque_after_101() -> None:
    plane = mesh(upgrade_configs=[{"upgrade_type": "websocket"}])
    client = plane.client()
    client.receive(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    plane.run()
    assert b"connection: Upgrade\r\nupgrade: websocket" in plane.upstream.take()
    plane.upstream.receive(b"HTTP/1.1 101 SP\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi")
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert answer.endswith(b"\r\n\r\nhi")
    client.receive(b"\x00\x01GET / HTTP/1.1\r\n\r\n")
    assert plane.upstream.take() == b"\x00\x01GET / HTTP/1.1\r\n\r\n"
    plane.upstream.receive(b"bye")
    plane.upstream.receive_eof()
    assert client.take() == b"bye"
    assert client.closed


def test_an_upgrade_that_is_not_configured_is_refused() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert plane.connector.attempts == []
    assert plane.infos[0].response_code_details == "upgrade_failed"


@pytest.mark.parametrize(
    ("request_", "status", "details"),
    [
        (b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", b"426 Upgrade Required", "low_version"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request", "missing_host_header"),
        (b"blah\r\n\r\n", b"400 Bad Request", "http1.codec_error"),
        (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", b"400 Bad Request", "http1.codec_error"),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", b"400 Bad Request", "path_normalization_failed"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", b"400 Bad Request", "http.invalid_authority"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", b"501 Not Implemented", "http1.invalid_transfer_encoding"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400 Bad Request", "http1.content_length_and_chunked_not_allowed"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(100)) + b"\r\n", b"431 Request Header Fields Too Large", "http1.too_many_headers"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 61500 + b"\r\n\r\n", b"431 Request Header Fields Too Large", "http1.headers_too_large"),
        (b"GET /a\x01b HTTP/1.1\r\nHost: a\r\n\r\n", b"400 Bad Request", "http1.invalid_characters"),
        (b"GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", b"400 Bad Request", "path_normalization_failed"),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", b"404 Not Found", "route_not_found"),
        (b"CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", b"400 Bad Request", "http1.invalid_url"),
        (b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", b"400 Bad Request", "http1.invalid_url"),
        (b"CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", b"400 Bad Request", "http1.invalid_url"),
    ],
)  # fmt: skip
def test_malformed_requests_reach_no_app_and_end_the_connection(
    request_: bytes, status: bytes, details: str
) -> None:
    plane = mesh()
    client = plane.client()
    client.receive(request_)
    plane.run()
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"connection: close" in head(answer)
    assert plane.connector.attempts == []
    assert [info.response_code_details for info in plane.infos] == [details]
    plane.run(1.1)  # delayed_close_timeout
    assert client.closed


def test_a_request_whose_body_is_malformed_at_once_is_routed_but_never_sent() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(b"POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert client.take().startswith(b"HTTP/1.1 400 Bad Request\r\n")
    (attempt,) = plane.connector.attempts
    assert attempt.succeed().take() == b""
    info = plane.infos[0]
    assert (info.path, info.upstream_cluster, info.response_code_details) == (
        b"/p",
        "up",
        "http1.codec_error",
    )


@pytest.mark.parametrize(
    ("forwarded_for", "remote"),
    [
        (b"x-forwarded-for: 10.1.1.1\r\n", "10.1.1.1:0"),
        (b"x-forwarded-for: 10.1.1.1, 10.2.2.2 \r\n", "10.2.2.2:0"),
        (b"x-forwarded-for: 10.1.1.1\r\nx-forwarded-for: 10.3.3.3\r\n", "10.3.3.3:0"),
        (b"x-forwarded-for: 2001:DB8::1\r\n", "[2001:db8::1]:0"),
        (b"x-forwarded-for: 10.1.1.1:99\r\n", None),
        (b"x-forwarded-for: 10.1.1.1,\r\n", None),
        (b"x-forwarded-for: bogus\r\n", None),
        (b"", None),
    ],
)
def test_the_logged_client_is_the_last_forwarded_address(forwarded_for: bytes, remote: str | None) -> None:
    plane = mesh()
    client = plane.client()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\n" + forwarded_for + b"\r\n")
    plane.run()
    plane.upstream.receive(OK)
    direct = plane.infos[0].downstream_remote_address
    assert direct is not None
    assert direct == remote if remote is not None else not direct.endswith(":0")


def test_a_gateway_believes_what_its_trusted_proxies_say_and_forgets_what_the_client_does() -> None:
    plane = mesh(use_remote_address=True, xff_num_trusted_hops=1)
    client = plane.client()
    client.receive(
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 8.8.8.8, 9.9.9.9\r\n"
        b"X-Envoy-Original-Path: /forged\r\nX-Envoy-Original-Host: forged\r\n\r\n"
    )
    plane.run()
    sent = head(plane.upstream.take())
    plane.upstream.receive(OK)
    assert b"x-envoy-external-address: 9.9.9.9" in sent
    assert b"x-forwarded-for: 8.8.8.8, 9.9.9.9,10.0.0.9" in sent
    assert not any(b"forged" in line for line in sent)
    assert (plane.infos[0].downstream_remote_address, plane.infos[0].original_path) == ("9.9.9.9:0", None)


def test_repeated_fields_of_one_value_are_joined() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: x\r\nX-A: 1\r\nAccept: y\r\nX-A: 2\r\n\r\n")
    plane.run()
    sent = head(plane.upstream.take())
    assert sent[2:5] == [b"accept: x,y", b"x-a: 1", b"x-a: 2"]


def test_a_body_behind_the_answer_to_head_reaches_nobody() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    plane.run()
    plane.upstream.receive(OK)
    assert client.take().endswith(b"\r\n\r\n")
    assert plane.upstream.closed


def test_repeated_fields_of_an_answer_are_joined_and_204_has_no_length() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(GET)
    plane.run()
    plane.upstream.receive(
        b"HTTP/1.1 204 No\r\nVary: a\r\nSet-Cookie: a\r\nVary: b\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"
    )
    answer = head(client.take())
    assert answer[1:4] == [b"vary: a,b", b"set-cookie: a", b"set-cookie: b"]
    assert not any(line.startswith(b"content-length") for line in answer)


def test_what_came_before_the_malformed_request_is_answered_first() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(GET + b"blah\r\n\r\n")
    plane.run()
    assert client.take() == b""
    plane.upstream.receive(OK)
    answers = client.take()
    assert answers.startswith(b"HTTP/1.1 200 OK")
    assert b"okHTTP/1.1 400 Bad Request" in answers


def test_a_vanished_client_resets_the_upstream() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(GET)
    plane.run()
    client.receive_eof()
    assert plane.upstream.closed
    assert client.closed
    (info,) = plane.infos
    assert (info.response_code, info.response_code_details) == (0, "downstream_remote_disconnect")
    assert plane.stat("http.test.downstream_cx_active") == 0
    assert plane.stat("cluster.up.upstream_cx_active") == 0


def test_a_vanished_client_takes_its_place_in_the_queue_back() -> None:
    plane = mesh()
    plane.connector.automatic = False
    client = plane.client()
    client.receive(GET)
    assert plane.stat("cluster.up.upstream_rq_pending_active") == 1
    client.receive_error()
    assert plane.stat("cluster.up.upstream_rq_pending_active") == 0


def test_an_early_response_closes_the_connection() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nabc")
    plane.run()
    plane.upstream.receive(OK)
    answer = client.take()
    assert b"connection: close" in head(answer)
    assert b"x-envoy-upstream-service-time" not in answer
    assert plane.upstream.closed
    client.receive(b"more of the body that nobody wants")
    assert not client.closed
    plane.run(1.1)
    assert client.closed


def test_backpressure_towards_a_slow_client() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(GET)
    plane.run()
    client.capacity = 0
    body = b"x" * 65000
    plane.upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (10 * len(body)))
    for _ in range(10):
        plane.upstream.receive(body)
    assert plane.upstream.incoming, "the upstream is not read while the client is slow"
    client.drain()
    plane.upstream.readable()
    assert len(client.take()) > 10 * len(body)
    assert not plane.upstream.incoming


def test_backpressure_towards_a_slow_upstream() -> None:
    plane = mesh()
    client = plane.client()
    body = b"x" * 65000
    client.receive(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (10 * len(body)))
    plane.run()
    plane.upstream.capacity = 0
    for _ in range(10):
        client.receive(body)
    assert client.incoming, "the client is not read while the upstream is slow"
    plane.upstream.drain()
    client.readable()
    assert plane.upstream.take().count(b"x") >= 10 * len(body)
    assert not client.incoming


def test_while_draining_every_answer_ends_its_connection() -> None:
    plane = mesh()
    busy, idle = plane.client(), plane.client()
    busy.receive(GET)
    plane.run()
    plane.plane.drain()
    plane.upstream.receive(OK)
    assert b"connection: close" in head(busy.take())
    assert busy.closed
    assert not idle.closed, "its client may just be asking"
    assert b"connection: close" in head(exchange(plane, idle, GET)[1])
    assert idle.closed
    late = plane.client()  # still accepted
    assert b"connection: close" in head(exchange(plane, late, GET)[1])


def test_the_idle_timeout_closes_an_idle_connection_only() -> None:
    plane = mesh(common_http_protocol_options={"idle_timeout": "10s"})
    client = plane.client()
    client.receive(GET)
    plane.run(15)
    assert not client.closed
    plane.upstream.receive(OK)
    client.take()
    plane.run(5)
    assert not client.closed
    plane.run(10)
    assert client.closed


def test_an_empty_request_id_counts_as_none() -> None:
    plane = mesh()
    got, _ = exchange(plane, plane.client(), b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id:\r\n\r\n")
    (line,) = [line for line in head(got) if line.startswith(b"x-request-id:")]
    assert len(line) == len("x-request-id: ") + 36


def test_a_gateway_trusts_nothing_a_client_says_of_itself() -> None:
    plane = mesh(use_remote_address=True)
    request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Request-Id: mine\r\nX-Forwarded-Proto: https\r\n\r\n"
    got, _ = exchange(plane, plane.client(), request)
    lines = head(got)
    assert b"x-forwarded-for: 1.1.1.1,10.0.0.9" in lines
    assert b"x-envoy-external-address: 10.0.0.9" in lines
    assert b"x-forwarded-proto: http" in lines
    assert b"x-request-id: mine" not in lines


def test_grpc_requests_get_grpc_local_replies() -> None:
    plane = mesh({"match": {"prefix": "/"}, "route": {"cluster": "nowhere"}})
    client = plane.client()
    client.receive(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\nContent-Length: 0\r\n\r\n"
    )
    assert b"grpc-status: 14" in head(client.take())


def test_what_is_logged() -> None:
    plane = mesh()
    exchange(plane, plane.client(), b"POST /a/../b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
    (info,) = plane.infos
    assert (info.method, info.path, info.authority) == (b"POST", b"/b", b"a")
    assert (info.bytes_received, info.bytes_sent, info.response_code) == (3, 2, 200)
    assert (info.upstream_host, info.upstream_cluster) == ("10.0.0.7:80", "up")
    assert info.response_code_details == "via_upstream"
    assert info.wire_bytes_received > 3
    assert info.wire_bytes_sent > 2


def test_what_comes_in_a_burst_behind_an_answer_costs_it_nothing() -> None:
    plane = mesh()
    client = plane.client()
    client.receive(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    plane.run()
    upstream = plane.upstream
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    upstream.incoming += [answer[:65536], answer[65536:]]
    upstream.readable()
    got = client.take()
    assert got.startswith(b"HTTP/1.1 200 OK")
    assert b"x" * 100 not in got
    assert upstream.closed
    assert plane.infos[0].response_code == 200


def test_many_requests_in_a_burst_are_not_one_long_head() -> None:
    plane = mesh({"match": {"prefix": "/"}, "direct_response": {"status": 200}})
    client = plane.client()
    asked = GET * 8000
    client.incoming += [asked[:65536], asked[65536:200_000]]
    client.readable()
    assert client.take().count(b"HTTP/1.1 200 OK") == asked[:200_000].count(b"\r\n\r\n")


def test_heads_that_are_each_cut_are_not_one_long_head() -> None:
    plane = mesh({"match": {"prefix": "/"}, "direct_response": {"status": 200}})
    client = plane.client()
    one = b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 50_000 + b"\r\n\r\n"
    asked = one[:20_000] + (one[20_000:] + one[:20_000]) * 6
    for at in range(0, len(asked), 25_000):
        client.receive(asked[at : at + 25_000])
    assert client.take().count(b"HTTP/1.1 200 OK") == 6


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_reset_ends_a_body_that_lasts_until_the_end_as_in_envoy(size: int) -> None:
    plane = mesh()
    client = plane.client()
    client.receive(GET)
    plane.run()
    upstream = plane.upstream
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * size
    upstream.incoming += [answer[:65536], answer[65536:]] if size > 65536 else [answer]
    upstream.receive_error()
    plane.run()
    got = client.take()
    assert got.count(b"x") >= size
    assert got.endswith(b"\r\n0\r\n\r\n")
    assert not client.closed
    assert upstream.closed
    assert plane.infos[0].response_flags == 0
    assert plane.stat("cluster.up.upstream_cx_active") == 0
