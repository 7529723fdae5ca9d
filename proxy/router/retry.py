"""Which attempts are worth another, and after which pause.

Pure policy: it sees how an attempt ended and answers; it counts nothing, sends nothing and keeps no time. Randomness is an
argument. How many retries are left, and whether the cluster has room for one, is for `proxy.router.retry_state`.
Reference: Envoy source/common/router/retry_state_impl.cc, "x-envoy-retry-on", source/common/common/backoff_strategy.cc;
reference §5.8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.router.stream import Headers
from proxy.upstream.failure import CONNECT_FAILURES, ResetReason

HeaderTest = Callable[[Headers], bool]

# Conditions that also fire when there was no response at all, since such a try would surface as 503 or 504.
_ON_RESET = frozenset({"5xx", "gateway-error", "reset"})
_GRPC_CODES = {
    "cancelled": b"1",
    "deadline-exceeded": b"4",
    "resource-exhausted": b"8",
    "internal": b"13",
    "unavailable": b"14",
}
GRPC_CONDITIONS = frozenset(_GRPC_CODES)
HTTP_CONDITIONS = frozenset(
    {
        "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited",
        "retriable-4xx", "refused-stream", "retriable-status-codes", "retriable-headers",
        "http3-post-connect-failure",  # about HTTP/3 alone: without it nothing meets this
    }
)  # fmt: skip
CONDITIONS = HTTP_CONDITIONS | GRPC_CONDITIONS

DEFAULT_BASE_INTERVAL = 0.025  # s, Envoy's upstream.base_retry_backoff_ms
_TOO_EARLY = 425  # RFC 8470: to be tried again at once


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A route's policy. Times in s; `per_try_timeout` 0: none of its own.

    With `request_headers` only requests that pass one of the tests are retried; `response_headers` is what
    `retriable-headers` looks for.
    """

    retry_on: frozenset[str]
    num_retries: int = 1
    per_try_timeout: float = 0.0
    status_codes: frozenset[int] = frozenset()
    base_interval: float = DEFAULT_BASE_INTERVAL
    max_interval: float = 10 * DEFAULT_BASE_INTERVAL
    avoid_previous_hosts: bool = False
    host_selection_attempts: int = 1
    priorities_every: int = 0
    """After how many attempts other priorities are turned to; 0: never."""
    response_headers: tuple[HeaderTest, ...] = ()
    request_headers: tuple[HeaderTest, ...] = ()

    def wants_reset(self, reason: ResetReason, *, request_sent: bool) -> bool:
        """Whether an attempt without a response is worth another; `request_sent`: some attempt sent a byte of it."""
        on = self.retry_on
        if reason is ResetReason.OVERFLOW:
            return False
        if on & _ON_RESET:
            return True
        if reason in CONNECT_FAILURES and "connect-failure" in on:
            return True
        if reason is ResetReason.REMOTE_REFUSED_STREAM and "refused-stream" in on:
            return True
        return "reset-before-request" in on and not request_sent

    def wants_response(self, status: int, fields: dict[bytes, bytes], headers: Headers) -> bool:
        """Whether this response head is worth another attempt."""
        on = self.retry_on
        if b"x-envoy-ratelimited" in fields:
            return "envoy-ratelimited" in on
        if status >= 400:
            if status >= 500 and "5xx" in on:
                return True
            if status in (502, 503, 504) and "gateway-error" in on:
                return True
            if status == 409 and "retriable-4xx" in on:
                return True
        if status in self.status_codes and "retriable-status-codes" in on:
            return True
        if "retriable-headers" in on and any(test(headers) for test in self.response_headers):
            return True
        grpc = fields.get(b"grpc-status")
        return grpc is not None and any(_GRPC_CODES.get(condition) == grpc for condition in on)

    def back_off(self, retry: int, draw: float) -> float:
        """Seconds before retry number `retry` (from 1), whole milliseconds; `draw` is uniform in [0, 1).

        Envoy draws below a ceiling that starts at the base interval and doubles up to the maximum.
        """
        ceiling = min(
            self.base_interval * (1 << min(retry - 1, 32)), max(self.max_interval, self.base_interval)
        )
        return int(draw * ceiling * 1000) / 1000

    @staticmethod
    def retries_at_once(status: int) -> bool:
        """Whether a response that is retried needs no back-off."""
        return status == _TOO_EARLY
