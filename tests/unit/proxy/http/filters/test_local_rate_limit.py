"""Local rate limits by dialogues; what Envoy answers to the same is in tests/differential/cases/rate-limit.yaml."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config.decode import ConfigError
from proxy.observability import response_flags as flags
from tests.unit.proxy.http.filters.filtered import LIMIT, Filtered, disabled, limit, route

ANNOUNCED = {"enable_x_ratelimit_headers": "DRAFT_VERSION_03"}


def statuses(mesh: Filtered, *requests: str) -> str:
    """`PATH` or `PATH header` each; one letter an answer: `o` passed, `x` refused."""
    answers = []
    for request in requests:
        path, _, header = request.partition(" ")
        answers.append(mesh.ask(path, *([header] if header else []))[0])
    return "".join("o" if answer == "200 OK" else "x" for answer in answers)


def matching(value: str, name: str, **pattern: str) -> dict[str, Any]:
    matcher = {"name": name, "string_match": pattern}
    return {"actions": [{"header_value_match": {"descriptor_value": value, "headers": [matcher]}}]}


def descriptor(value: str, tokens: int, fill: int = 1) -> dict[str, Any]:
    bucket = {"max_tokens": tokens, "tokens_per_fill": fill, "fill_interval": "60s"}
    return {"entries": [{"key": "header_match", "value": value}], "token_bucket": bucket}


def test_a_refusal() -> None:
    mesh = Filtered(route("/", limit(1), name="r"))
    assert mesh.ask("/")[0] == "200 OK"
    assert mesh.ask("/") == ["429 Too Many Requests", "content-length: 18", "content-type: text/plain"]
    info = mesh.infos[1]
    assert (info.response_flags, info.response_code_details) == (flags.RL, "local_rate_limited")
    assert (info.route_name, info.upstream_cluster) == ("r", "up")
    names = ("enabled", "ok", "rate_limited", "enforced")
    assert [mesh.stat(f"l.http_local_rate_limit.{name}") for name in names] == [2, 1, 1, 1]


@pytest.mark.parametrize(("exhausted", "status"), [(False, 14), (True, 8)])
def test_grpc(exhausted: bool, status: int) -> None:
    mesh = Filtered(route("/", limit(0, rate_limited_as_resource_exhausted=exhausted)))
    answer = mesh.ask("/", "content-type: application/grpc", method="POST")
    assert f"grpc-status: {status}" in answer
    assert "grpc-message: local_rate_limited" in answer


def test_tokens_come_back_evenly() -> None:
    mesh = Filtered(
        route("/", limit(2, token_bucket={"max_tokens": 2, "tokens_per_fill": 4, "fill_interval": "4s"}))
    )
    assert statuses(mesh, "/", "/", "/") == "oox"
    mesh.run(0.9)
    assert statuses(mesh, "/") == "x"
    mesh.run(0.2)
    assert statuses(mesh, "/", "/") == "ox"
    mesh.run(60)
    assert statuses(mesh, "/", "/", "/") == "oox"


def test_what_is_left_is_announced() -> None:
    mesh = Filtered(route("/", limit(2, **ANNOUNCED)))
    told = [[line for line in mesh.ask("/") if line.startswith("x-ratelimit")] for _ in range(3)]
    assert told[0] == ["x-ratelimit-limit: 2", "x-ratelimit-remaining: 1", "x-ratelimit-reset: 0"]
    assert told[1] == told[2] == ["x-ratelimit-limit: 2", "x-ratelimit-remaining: 0", "x-ratelimit-reset: 60"]
    mesh.run(30.5)
    assert "x-ratelimit-reset: 30" in mesh.ask("/")


def test_shared_by_connections_or_made_for_each() -> None:
    shared, own = (
        Filtered(route("/", limit(1))),
        Filtered(route("/", limit(1, local_rate_limit_per_downstream_connection=True))),
    )
    assert statuses(shared, "/", "/") == "ox"
    assert statuses(own, "/", "/") == "oo"
    client = own.client()
    assert [own.ask("/", client=client)[0][:3] for _ in range(2)] == ["200", "429"]


def test_the_routes_of_a_virtual_host_share_its_limit() -> None:
    mesh = Filtered(
        route("/own", limit(1)),
        route("/off", disabled(LIMIT)),
        route("/"),
        vhost={"typed_per_filter_config": limit(2)},
    )
    assert statuses(mesh, "/own", "/own", "/a", "/b", "/c", "/off", "/off") == "oxooxoo"


def test_the_listeners_own() -> None:
    mesh = Filtered(route("/", name="r"), limit=limit(1, stat_prefix="own")[LIMIT])
    assert statuses(mesh, "/", "/") == "ox"
    assert mesh.stat("own.http_local_rate_limit.enforced") == 1


def test_neither_enabled_nor_enforced_unless_it_says_so() -> None:
    never = {"default_value": {"numerator": 0}}
    assert statuses(Filtered(route("/", limit(0, filter_enabled=never))), "/", "/") == "oo"
    mesh = Filtered(
        route(
            "/",
            limit(
                0,
                filter_enforced=never,
                request_headers_to_add_when_not_enforced=[{"header": {"key": "x-would", "value": "limit"}}],
            ),
        )
    )
    client = mesh.client()
    client.receive(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    mesh.run()
    assert b"x-would: limit\r\n" in mesh.upstream.take()
    assert mesh.stat("l.http_local_rate_limit.rate_limited") == 1
    assert mesh.stat("l.http_local_rate_limit.enforced") == 0


def test_headers_of_the_refusal() -> None:
    said = limit(
        0,
        status={"code": 503},
        response_headers_to_add=[{"header": {"key": "x-limited", "value": "%ROUTE_NAME%"}}],
    )
    mesh = Filtered(
        route("/", said, name="r", response_headers_to_add=[{"header": {"key": "x-r", "value": "1"}}])
    )
    answer = mesh.ask("/")
    assert answer[0] == "503 Service Unavailable"
    assert {"x-limited: r", "x-r: 1"} <= set(answer)


def test_further_limits() -> None:
    said = limit(
        10,
        rate_limits=[matching("path", ":path", prefix="/a"), matching("user", "x-u", exact="j")],
        descriptors=[descriptor("path", 2), descriptor("user", 1)],
    )
    mesh = Filtered(route("/", said))
    assert statuses(mesh, "/a", "/b", "/a", "/a", "/b x-u: j", "/b x-u: j", "/b") == "oooxoxo"


def test_the_slowest_is_asked_first_and_announced() -> None:
    said = limit(
        100,
        rate_limits=[matching("fast", "x", exact="1"), matching("slow", "x", exact="1")],
        descriptors=[descriptor("fast", 7, 3), descriptor("slow", 5)],
        **ANNOUNCED,
    )
    mesh = Filtered(route("/", said))
    assert "x-ratelimit-limit: 5" in mesh.ask("/", "x: 1")
    assert "x-ratelimit-limit: 100" in mesh.ask("/")


def test_matching_requests_may_leave_the_default_bucket_alone() -> None:
    def mesh(always: bool) -> Filtered:
        said = limit(
            2,
            rate_limits=[matching("path", ":path", prefix="/a")],
            descriptors=[descriptor("path", 5)],
            always_consume_default_token_bucket=always,
        )
        return Filtered(route("/", said))

    assert statuses(mesh(True), "/a", "/a", "/a") == "oox"
    assert statuses(mesh(False), "/a", "/a", "/a", "/b", "/b", "/b") == "ooooox"


def test_a_bucket_for_each_value() -> None:
    said = limit(
        100,
        rate_limits=[{"actions": [{"request_headers": {"header_name": "x-u", "descriptor_key": "u"}}]}],
        descriptors=[{"entries": [{"key": "u"}], "token_bucket": {"max_tokens": 1, "fill_interval": "60s"}}],
        max_dynamic_descriptors=2,
    )
    mesh = Filtered(route("/", said))
    assert statuses(mesh, "/ x-u: a", "/ x-u: a", "/ x-u: b", "/ x-u: b", "/", "/") == "oxoxoo"
    assert statuses(mesh, "/ x-u: c", "/ x-u: a", "/ x-u: a") == "oox"  # c pushed a out


def test_a_bucket_for_each_client() -> None:
    said = limit(
        100,
        rate_limits=[{"actions": [{"generic_key": {"descriptor_value": "v"}}, {"remote_address": {}}]}],
        descriptors=[
            {
                "entries": [{"key": "generic_key", "value": "v"}, {"key": "remote_address"}],
                "token_bucket": {"max_tokens": 1, "fill_interval": "60s"},
            }
        ],
    )
    assert statuses(Filtered(route("/", said)), "/", "/") == "ox"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"token_bucket": None}, "token bucket must be set"),
        ({"token_bucket": {"max_tokens": 1, "fill_interval": "0.01s"}}, ">= 50ms"),
        ({"descriptors": [descriptor("a", 1), descriptor("a", 2)]}, r"descriptors\[1\]: duplicate descriptor"),
        (
            {"rate_limits": [matching("a", "x", exact="1"), {"actions": [{"header_value_match": {"descriptor_value": "b", "headers": [{"name": "x", "string_match": {"safe_regex": {"regex": "("}}}]}}]}]},
            r"rate_limits\[1\]\.actions\[0\]\.header_value_match\.headers\[0\]",
        ),
        ({"stage": 1}, "not implemented"),
    ],
)  # fmt: skip
def test_what_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Filtered(route("/", limit(1, **fields)))
