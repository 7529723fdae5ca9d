"""Faults by dialogues: aborts, delays, whom they concern, and what they leave behind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.filters.fault import FaultStats
from proxy.observability import response_flags as flags
from proxy.observability.stats import StatsStore
from tests.unit.proxy.http.filters.filtered import (
    FAULT,
    LIMIT,
    OK,
    Filtered,
    abort,
    cors,
    delay,
    disabled,
    fault,
    limit,
    route,
)
from tests.unit.proxy.in_memory import FakeSocket

ABORTED = ["content-length: 18", "content-type: text/plain"]
GRPC = "content-type: application/grpc"


def test_an_abort_never_reaches_the_upstream() -> None:
    mesh = Filtered(route("/", abort(555), name="r"))
    assert mesh.ask("/") == ["555 Unknown", *ABORTED]
    assert not mesh.connector.attempts
    info = mesh.infos[0]
    assert (info.response_flags, info.response_code_details) == (flags.FI, "fault_filter_abort")
    assert (info.route_name, info.upstream_cluster) == ("r", "up")
    assert mesh.stat("http.test.fault.aborts_injected") == 1


@pytest.mark.parametrize(
    ("said", "headers", "expected"),
    [
        (abort(503), [GRPC], ["grpc-message: fault filter abort", "grpc-status: 14"]),
        (abort(555), [GRPC], ["grpc-message: fault filter abort", "grpc-status: 2"]),
        (
            fault(abort={"grpc_status": 7, "percentage": {"numerator": 100}}),
            [GRPC],
            ["grpc-message: fault filter abort", "grpc-status: 7"],
        ),
    ],
)
def test_grpc_gets_its_own_form(said: dict[str, Any], headers: list[str], expected: list[str]) -> None:
    mesh = Filtered(route("/", said))
    assert mesh.ask("/", *headers, method="POST") == ["200 OK", "content-length: 0", GRPC, *expected]


def test_a_grpc_status_as_text_for_others() -> None:
    mesh = Filtered(route("/", fault(abort={"grpc_status": 14, "percentage": {"numerator": 100}})))
    assert mesh.ask("/") == ["200 OK", *ABORTED]


@pytest.mark.parametrize("share", [{}, {"numerator": 0}])
def test_no_share_is_never(share: dict[str, Any]) -> None:
    said = fault(
        abort={"http_status": 500, "percentage": share}, delay={"fixed_delay": "5s", "percentage": share}
    )
    assert Filtered(route("/", said)).ask("/")[0] == "200 OK"


@pytest.mark.parametrize(
    ("draw", "status"), [(0.0, "503"), (0.0000009, "503"), (0.000001, "200"), (0.9999, "200")]
)
def test_a_share_of_a_millionth(draw: float, status: str) -> None:
    said = fault(abort={"http_status": 503, "percentage": {"numerator": 1, "denominator": "MILLION"}})
    mesh = Filtered(route("/", said))
    filter_: Any = mesh.plane.listeners.listeners["l"].chains[0].network_filter
    filter_.settings.chain.filters[0]._draw = lambda: draw
    assert mesh.ask("/")[0].startswith(status)


def test_a_delay_holds_the_request_back() -> None:
    mesh = Filtered(route("/", delay("0.500s")))
    client = mesh.client()
    client.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    mesh.run(0.49)
    assert not mesh.connector.attempts
    assert mesh.stat("http.test.fault.active_faults") == 1
    mesh.run(0.02)
    mesh.upstream.receive(OK)
    assert client.take().startswith(b"HTTP/1.1 200")
    assert mesh.infos[0].response_flags == flags.DI
    assert mesh.stat("http.test.fault.active_faults") == 0
    assert mesh.stat("http.test.fault.delays_injected") == 1


def test_the_route_timeout_begins_after_the_delay() -> None:
    said = route("/", delay("1s"))
    said["route"]["timeout"] = "0.200s"
    mesh = Filtered(said)
    client = mesh.client()
    client.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    mesh.run(1.1)
    assert mesh.upstream.take()
    mesh.run(0.2)
    assert client.take().startswith(b"HTTP/1.1 504")
    assert flags.text(mesh.infos[0].response_flags) == "DI,UT"


def test_delay_first_then_abort() -> None:
    mesh = Filtered(route("/", {FAULT: {**delay("1s")[FAULT], **abort(504)[FAULT]}}))
    client = mesh.client()
    client.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    mesh.run(0.9)
    assert not client.take()
    mesh.run(0.2)
    assert client.take().startswith(b"HTTP/1.1 504")
    assert flags.text(mesh.infos[0].response_flags) == "DI,FI"


@pytest.mark.parametrize("body", [b"", b"content-length: 30\r\n\r\nabc"])
def test_a_client_that_leaves_meanwhile(body: bytes) -> None:
    mesh = Filtered(route("/", delay("5s"), name="r"))
    client = mesh.client()
    client.receive(b"POST / HTTP/1.1\r\nhost: a\r\n" + (body or b"\r\n"))
    mesh.run(1)
    client.receive_eof()
    info = mesh.infos[0]
    assert flags.text(info.response_flags) == "DI,DC"
    assert (info.route_name, info.upstream_cluster, info.bytes_received) == ("r", "up", 3 if body else 0)
    assert mesh.stat("http.test.fault.active_faults") == 0
    mesh.run(10)
    assert not mesh.connector.attempts
    assert not mesh.loop.timers


def test_what_the_client_sends_meanwhile_is_kept_up_to_the_limit() -> None:
    mesh = Filtered(route("/", delay("1s")))
    client = mesh.client()
    client.receive(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2000000\r\n\r\n")
    for _ in range(40):
        client.receive(b"x" * 50_000)
    waiting = sum(len(data) for data in client.incoming if isinstance(data, bytes))
    assert 2_000_000 - waiting in range(1_048_576, 1_150_000)
    mesh.run(1.1)
    client.readable()
    assert len(mesh.upstream.take()) > 2_000_000
    mesh.upstream.receive(OK)
    assert mesh.infos[0].bytes_received == 2_000_000


def test_an_aborted_body_that_was_read_keeps_the_connection() -> None:
    mesh = Filtered(route("/", {FAULT: {**delay("1s")[FAULT], **abort()[FAULT]}}))
    client = mesh.client()
    client.receive(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc")
    mesh.run(1.1)
    assert b"connection: close" not in client.take()
    assert mesh.infos[0].bytes_received == 3


def test_only_requests_that_match_its_headers() -> None:
    mesh = Filtered(route("/", abort(headers=[{"name": "x-u", "string_match": {"exact": "j"}}])))
    assert mesh.ask("/")[0] == "200 OK"
    assert mesh.ask("/", "x-u: j")[0].startswith("503")


def test_no_more_than_so_many_at_a_time() -> None:
    mesh = Filtered(route("/", delay("1s", max_active_faults=1)))
    first = mesh.client()
    first.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert mesh.ask("/")[0] == "200 OK"
    assert mesh.stat("http.test.fault.faults_overflow") == 1
    mesh.run(1.1)
    assert mesh.stat("http.test.fault.active_faults") == 0


def test_the_most_specific_level_counts() -> None:
    weighted = route("/weighted", abort(502))
    weighted["route"] = {
        "weighted_clusters": {
            "clusters": [
                {
                    "name": "up",
                    "weight": 1,
                    "typed_per_filter_config": abort(599),
                    "response_headers_to_add": [{"header": {"key": "x-w", "value": "1"}}],
                }
            ]
        }
    }
    mesh = Filtered(
        weighted,
        route("/route", abort(501)),
        route("/off", disabled(FAULT)),
        route("/empty", fault()),
        route("/vhost"),
        vhost={"typed_per_filter_config": abort(500), "domains": ["a"]},
        fault=abort(418)[FAULT],
    )
    answers = {path: mesh.ask(path)[0][:3] for path in ("/weighted", "/route", "/off", "/empty", "/vhost")}
    assert answers == {"/weighted": "599", "/route": "501", "/off": "200", "/empty": "200", "/vhost": "500"}
    assert "x-w: 1" in mesh.ask("/weighted")
    assert mesh.ask("/no-route")[0][:3] == "418"  # no route, so no virtual host either


def test_the_listener_has_one_for_all_requests() -> None:
    mesh = Filtered(route("/known"), fault=abort(418)[FAULT])
    assert mesh.ask("/known")[0] == "418 Unknown"
    assert mesh.ask("/unknown")[0] == "418 Unknown"
    assert mesh.infos[1].upstream_cluster is None


def test_header_operations_of_the_route() -> None:
    add = [
        {
            "header": {"key": "content-type", "value": "text/html"},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        },
        {"header": {"key": "x-flags", "value": "%RESPONSE_FLAGS% %RESPONSE_CODE%"}},
    ]
    mesh = Filtered(route("/", abort(), response_headers_to_add=add))
    assert mesh.ask("/")[1:] == ["content-length: 18", "content-type: text/html", "x-flags: FI 0"]


@pytest.mark.parametrize(
    "answer", [{"redirect": {"path_redirect": "/x"}}, {"direct_response": {"status": 200}}], ids=str
)
def test_routes_that_answer_themselves(answer: dict[str, Any]) -> None:
    add = [{"header": {"key": "x-r", "value": "1"}}]
    said = {"match": {"prefix": "/"}, **answer, "typed_per_filter_config": abort()}
    mesh = Filtered({**said, "response_headers_to_add": add})
    assert mesh.ask("/") == ["503 Service Unavailable", *ABORTED]


def test_callers_that_name_themselves_are_counted() -> None:
    mesh = Filtered(route("/", abort()))
    mesh.ask("/", "x-envoy-downstream-service-cluster: front")
    assert mesh.stat("http.test.fault.front.aborts_injected") == 1


def test_callers_cannot_fill_the_statistics() -> None:
    store = StatsStore()
    stats = FaultStats(store, "test")
    for number in range(1000):
        stats.count_for(b"caller-%d" % number, "aborts_injected")
        stats.count_for(b"caller-0", "aborts_injected")
    assert sum("caller" in name for name in store._counters) == 256
    assert store.counter("http.test.fault.caller-0.aborts_injected").value == 1001


def test_a_disabled_filter_acts_as_routes_say() -> None:
    mesh = Filtered(
        route("/fault", abort(503)),
        route("/cors", cors(allow_origin_string_match=[{"exact": "http://a.test"}])),
        route("/limit", limit(0)),
        disabled=True,
        fault=abort(418)[FAULT],
        limit=limit(0, stat_prefix="own")[LIMIT],
    )
    assert mesh.ask("/fault")[0][:3] == "503"
    assert "access-control-allow-origin: http://a.test" in mesh.ask("/cors", "origin: http://a.test")
    assert mesh.ask("/limit")[0][:3] == "429"
    assert mesh.ask("/unknown")[0][:3] == "404"


@given(st.lists(st.sampled_from(["ask", "post", "leave", "wait", "answer"]), max_size=30))
def test_nothing_is_left(events: list[str]) -> None:
    """Whatever clients do while they are delayed: in the end no delay, no timer, no connection."""
    mesh = Filtered(
        route("/", {FAULT: {**delay("1s")[FAULT], **abort(503, headers=[])[FAULT]}}), route("/free")
    )
    clients: list[FakeSocket] = []
    for number, event in enumerate(events):
        if event == "ask":
            clients.append(mesh.client())
            clients[-1].receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        elif event == "post":
            clients.append(mesh.client())
            clients[-1].receive(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nabc")
        elif event == "leave" and clients:
            clients.pop(number % len(clients)).receive_eof()
        elif event == "answer" and clients:
            clients[number % len(clients)].receive(b"defghi")
        else:
            mesh.run(0.4)
        assert mesh.stat("http.test.fault.active_faults") <= len(clients)
    mesh.run(2)
    assert mesh.stat("http.test.fault.active_faults") == 0
    assert mesh.stat("http.test.fault.aborts_injected") <= mesh.stat("http.test.fault.delays_injected")
    for client in clients:
        client.receive_eof()
    mesh.run(10)
    assert mesh.stat("http.test.downstream_cx_active") == 0
    assert mesh.stat("http.test.downstream_rq_active") == 0
    assert repr(mesh.plane.deadlines) == "<Deadlines armed=0>"
