"""When an attempt is tried again, how often, and after which pause.

Pure policy: it sees how an attempt ended and answers; it sends nothing and keeps no time. Randomness is an argument.
Reference: Envoy source/common/router/retry_state_impl.cc, "x-envoy-retry-on"; reference §5.8.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.upstream.failure import CONNECT_FAILURES, ResetReason

# Conditions that also fire when there was no response at all, since such a try would surface as 503 or 504.
_ON_RESET = frozenset({"5xx", "gateway-error", "reset"})
_GRPC_CODES = {
    "cancelled": b"1",
    "deadline-exceeded": b"4",
    "resource-exhausted": b"8",
    "internal": b"13",
    "unavailable": b"14",
}
HTTP_CONDITIONS = frozenset(
    {
        "5xx", "gateway-error", "reset", "reset-before-request", "connect-failure", "envoy-ratelimited",
        "retriable-4xx", "refused-stream", "retriable-status-codes", "retriable-headers",
        "http3-post-connect-failure",
    }
)  # fmt: skip
CONDITIONS = HTTP_CONDITIONS | _GRPC_CODES.keys()

DEFAULT_BASE_INTERVAL = 0.025  # s
DEFAULT_BUFFER_LIMIT = 1024 * 1024  # bytes of request body kept for a further try


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A route's policy. Times in s; `per_try_timeout` 0: none of its own."""

    retry_on: frozenset[str]
    num_retries: int = 1
    per_try_timeout: float = 0.0
    status_codes: frozenset[int] = frozenset()
    base_interval: float = DEFAULT_BASE_INTERVAL
    max_interval: float = 10 * DEFAULT_BASE_INTERVAL
    avoid_previous_hosts: bool = False
    host_selection_attempts: int = 1

    def wants_reset(self, reason: ResetReason, *, request_sent: bool) -> bool:
        """Whether an attempt without a response is worth another; `request_sent`: its head had left."""
        on = self.retry_on
        if reason is ResetReason.OVERFLOW:
            return False
        if on & _ON_RESET:
            return True
        if reason in CONNECT_FAILURES and "connect-failure" in on:
            return True
        return "reset-before-request" in on and not request_sent

    def wants_per_try_timeout(self) -> bool:
        return bool(self.retry_on & _ON_RESET)

    def wants_response(self, status: int, fields: dict[bytes, bytes]) -> bool:
        """Whether this response head is worth another attempt."""
        on = self.retry_on
        if b"x-envoy-ratelimited" in fields:
            return "envoy-ratelimited" in on
        if status >= 500 and "5xx" in on:
            return True
        if status in (502, 503, 504) and "gateway-error" in on:
            return True
        if status == 409 and "retriable-4xx" in on:
            return True
        if status in self.status_codes and "retriable-status-codes" in on:
            return True
        grpc = fields.get(b"grpc-status")
        return grpc is not None and any(_GRPC_CODES.get(condition) == grpc for condition in on)

    def pause_before(self, retry: int, draw: float) -> float:
        """Seconds before retry number `retry` (from 1); `draw` is uniform in [0, 1)."""
        ceiling = self.base_interval * ((1 << retry) - 1)
        return min(draw * ceiling, self.max_interval)
