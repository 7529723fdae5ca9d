"""Durations of requests and attempts, and the header gRPC clients ask with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.router.overrides import RETRY_HEADERS, TIMEOUT_HEADERS, take_retry_policy, take_timeouts
from proxy.router.retry import RetryPolicy
from proxy.router.timeouts import (
    NO_TIMEOUTS,
    GrpcTimeout,
    StreamDuration,
    Timeouts,
    format_grpc_timeout,
    parse_grpc_timeout,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"250m", 0.25),
        (b"1500u", 0.002),  # whole milliseconds, rounded up
        (b"1n", 0.001),
        (b"0m", 0.0),
        (b"99999999m", 99999.999),
        (b"", None),
        (b"5", None),
        (b"m", None),
        (b"5s", None),
        (b"-5m", None),
        (b"123456789m", None),  # eight digits at most
        (b"5m ", None),
    ],
)
def test_grpc_timeout(text: bytes, seconds: float | None) -> None:
    assert parse_grpc_timeout(text) == seconds


@given(milliseconds=st.integers(0, 10**12))
def test_a_grpc_timeout_has_eight_digits(milliseconds: int) -> None:
    text = format_grpc_timeout(milliseconds / 1000)
    assert len(text) <= 9
    back = parse_grpc_timeout(text)
    assert back is not None
    assert back <= milliseconds / 1000 + 1e-6
    if milliseconds <= 99_999_999:
        assert back == milliseconds / 1000


@pytest.mark.parametrize(
    ("policy", "asked", "expected"),
    [
        (GrpcTimeout(), None, 0.0),
        (GrpcTimeout(), b"2S", 2.0),
        (GrpcTimeout(), b"soon", 0.0),
        (GrpcTimeout(3.0), None, 3.0),
        (GrpcTimeout(3.0), b"9S", 3.0),
        (GrpcTimeout(3.0), b"1S", 1.0),
        (GrpcTimeout(3.0, offset=0.5), b"2S", 1.5),
        (GrpcTimeout(3.0, offset=5.0), b"2S", 2.0),  # an offset never makes it unlimited
    ],
)
def test_max_grpc_timeout(policy: GrpcTimeout, asked: bytes | None, expected: float) -> None:
    assert policy.timeouts(asked, Timeouts(15.0)).route == expected


@pytest.mark.parametrize(
    ("limit", "asked", "seconds", "header"),
    [
        (StreamDuration(2.0), None, 2.0, None),
        (StreamDuration(2.0), b"1S", 2.0, None),  # grpc_timeout_header_max is not set
        (StreamDuration(0.0, 0.0), None, None, None),
        (StreamDuration(0.0, 0.0), b"1S", 1.0, b"1000m"),
        (StreamDuration(0.0, 0.5), b"1S", 0.5, b"500m"),
        (StreamDuration(0.0, 0.0, 0.25), b"1S", 0.75, b"750m"),
        (StreamDuration(0.0, 0.0, 2.0), b"1S", 0.0, None),
        (StreamDuration(5.0, 0.0), b"soon", 5.0, None),
    ],
)
def test_stream_duration(
    limit: StreamDuration, asked: bytes | None, seconds: float | None, header: bytes | None
) -> None:
    assert limit.of_request(asked) == (seconds, header)


@pytest.mark.parametrize(
    ("timeouts", "elapsed", "told"),
    [
        (NO_TIMEOUTS, 5.0, 0.0),
        (Timeouts(2.0), 0.0, 2.0),
        (Timeouts(2.0), 1.5, 0.5),
        (Timeouts(2.0), 2.0, 0.001),
        (Timeouts(2.0, 0.5), 0.0, 0.5),
        (Timeouts(2.0, 0.5), 1.75, 0.25),
        (Timeouts(0.0, 0.5), 9.0, 0.5),
        (Timeouts(0.5, 0.5), 0.0, 0.5),  # not below the route's: no effect
    ],
)
def test_what_an_attempt_is_told(timeouts: Timeouts, elapsed: float, told: float) -> None:
    assert timeouts.of_attempt(elapsed) == told


def test_headers_about_time() -> None:
    headers = [
        (b"x-envoy-upstream-rq-timeout-ms", b"1500"),
        (b"x-envoy-upstream-rq-per-try-timeout-ms", b" 200 "),
        (b"x-envoy-upstream-stream-duration-ms", b"9000"),
        (b"x-envoy-upstream-rq-timeout-alt-response", b"anything"),
        (b"x-a", b"b"),
    ]
    asked = take_timeouts(headers, NO_TIMEOUTS)
    assert asked == Timeouts(1.5, 0.2, 9.0, timeout_status=204)
    assert headers == [(b"x-a", b"b")]
    assert take_timeouts([(b"x-envoy-upstream-rq-timeout-ms", b"soon")], Timeouts(3.0)) == Timeouts(3.0)


def test_headers_about_retries() -> None:
    headers = [
        (b"x-envoy-retry-on", b"reset"),
        (b"x-envoy-retry-on", b"5xx, whatever"),
        (b"x-envoy-retry-grpc-on", b"internal"),
        (b"x-envoy-max-retries", b"7"),
        (b"x-envoy-retriable-status-codes", b"418, x,503"),
        (b"x-envoy-retriable-header-names", b"X-Again,"),
    ]
    route = RetryPolicy(frozenset({"connect-failure"}), status_codes=frozenset({500}))
    asked = take_retry_policy(headers, route)
    assert asked is not None
    assert asked.retry_on == {"connect-failure", "reset", "5xx", "internal"}
    assert asked.num_retries == 7
    assert asked.status_codes == {418, 500, 503}
    assert [test([(b"x-again", b"")]) for test in asked.response_headers] == [True]
    assert headers == []
    assert take_retry_policy([(b"x-envoy-max-retries", b"7")], None) is None
    alone = take_retry_policy([(b"x-envoy-retry-on", b"5xx")], None)
    assert alone is not None
    assert alone.num_retries == 1


@given(
    headers=st.lists(
        st.tuples(st.sampled_from(sorted(RETRY_HEADERS | TIMEOUT_HEADERS)), st.binary(max_size=12))
    )
)
def test_no_header_of_theirs_is_left_and_none_breaks(headers: list[tuple[bytes, bytes]]) -> None:
    left = [*headers, (b"host", b"a")]
    take_timeouts(left, Timeouts(2.0))
    take_retry_policy(left, RetryPolicy(frozenset({"5xx"})))
    assert left == [(b"host", b"a")]
