"""What a trusted caller asks of one request by header: its own timeouts, its own retries.

Pure: header lists in, values out. Who is trusted is decided where requests are admitted, which drops these headers from all
others; what is left here was kept on purpose, or set by the route itself. Invariant: none of them reaches an upstream.
Reference: Envoy docs "router filter: HTTP headers (consumed)"; source/common/router/{router,retry_state_impl}.cc; reference §8.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from proxy.router.retry import GRPC_CONDITIONS, HTTP_CONDITIONS, HeaderTest, RetryPolicy
from proxy.router.stream import Headers
from proxy.router.timeouts import Timeouts

_ROUTE_TIMEOUT = b"x-envoy-upstream-rq-timeout-ms"
_PER_TRY_TIMEOUT = b"x-envoy-upstream-rq-per-try-timeout-ms"
_STREAM_DURATION = b"x-envoy-upstream-stream-duration-ms"
_TIMEOUT_STATUS = b"x-envoy-upstream-rq-timeout-alt-response"
_HEDGE = b"x-envoy-hedge-on-per-try-timeout"
_RETRY_ON = b"x-envoy-retry-on"
_RETRY_GRPC_ON = b"x-envoy-retry-grpc-on"
_MAX_RETRIES = b"x-envoy-max-retries"
_STATUS_CODES = b"x-envoy-retriable-status-codes"
_HEADER_NAMES = b"x-envoy-retriable-header-names"

TIMEOUT_HEADERS = frozenset(
    {
        _ROUTE_TIMEOUT, _PER_TRY_TIMEOUT, _STREAM_DURATION, _TIMEOUT_STATUS, _HEDGE,
        b"x-envoy-upstream-alt-stat-name",  # consumed; there are no statistics by a caller's names
    }
)  # fmt: skip
RETRY_HEADERS = frozenset({_RETRY_ON, _RETRY_GRPC_ON, _MAX_RETRIES, _STATUS_CODES, _HEADER_NAMES})
_NUMBER = re.compile(rb"\s*\+?(\d{1,19})\s*\Z")


def take_timeouts(headers: Headers, route: Timeouts) -> Timeouts:
    """The request's timeouts, the headers that asked for them removed from `headers`."""
    asked = _taken(headers, TIMEOUT_HEADERS)
    timeouts = route
    if (longest := _milliseconds(asked, _ROUTE_TIMEOUT)) is not None:
        timeouts = replace(timeouts, route=longest)
    if (per_try := _milliseconds(asked, _PER_TRY_TIMEOUT)) is not None:
        timeouts = replace(timeouts, per_try=per_try)
    if (duration := _milliseconds(asked, _STREAM_DURATION)) is not None:
        timeouts = replace(timeouts, stream_duration=duration)
    if _TIMEOUT_STATUS in asked:
        timeouts = replace(timeouts, timeout_status=204)
    if asked.get(_HEDGE, b"") in (b"true", b"false"):
        timeouts = replace(timeouts, hedge=asked[_HEDGE] == b"true")
    return timeouts


def take_retry_policy(headers: Headers, route: RetryPolicy | None) -> RetryPolicy | None:
    """The request's retry policy, the headers that asked for it removed from `headers`; None: nothing is retried."""
    asked = _taken(headers, RETRY_HEADERS)
    conditions = _listed(asked, _RETRY_ON, HTTP_CONDITIONS) | _listed(asked, _RETRY_GRPC_ON, GRPC_CONDITIONS)
    if route is None:
        if not conditions:
            return None
        route = RetryPolicy(frozenset())
    policy = replace(route, retry_on=route.retry_on | conditions)
    retries = _number(asked.get(_MAX_RETRIES, b""))
    if retries is not None:
        policy = replace(policy, num_retries=retries)
    codes = map(_number, asked.get(_STATUS_CODES, b"").split(b","))
    policy = replace(policy, status_codes=policy.status_codes | {code for code in codes if code is not None})
    names = [name.strip().lower() for name in asked.get(_HEADER_NAMES, b"").split(b",")]
    tests = tuple(_has(name) for name in names if name)
    return replace(policy, response_headers=policy.response_headers + tests)


def _has(wanted: bytes) -> HeaderTest:
    return lambda headers: any(name == wanted for name, _ in headers)


def _taken(headers: Headers, names: frozenset[bytes]) -> dict[bytes, bytes]:
    """The named headers, several of one name joined; none of them is left in `headers`."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in names:
            found[name] = found[name] + b"," + value if name in found else value
    if found:
        headers[:] = [pair for pair in headers if pair[0] not in names]
    return found


def _listed(asked: dict[bytes, bytes], name: bytes, known: Iterable[str]) -> frozenset[str]:
    words = {word.strip().decode("latin-1") for word in asked.get(name, b"").split(b",")}
    return frozenset(words.intersection(known))


def _milliseconds(asked: dict[bytes, bytes], name: bytes) -> float | None:
    number = _number(asked.get(name, b""))
    return None if number is None else number / 1000


def _number(text: bytes) -> int | None:
    found = _NUMBER.match(text)
    return None if found is None else int(found[1])
