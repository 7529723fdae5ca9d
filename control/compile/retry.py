"""How often and how long a route tries: its retry policy and its timeouts.

Reference: istio's pilot/pkg/networking/core/route/retry/retry.go; route.go (setTimeout).
"""

from __future__ import annotations

from decimal import Decimal
from http import HTTPStatus

from control.compile.protobuf import Message, T, duration, seconds
from control.mesh_config import HttpRetryPolicy
from control.resources.http_rule import HTTPRetry
from control.resources.istio_types import parse_duration

# What the server sidecar retries towards its own app.
INBOUND: Message = {"retry_on": "reset-before-request", "num_retries": 2}
# A server sidecar sets no time limit, and takes a gRPC client's own as it comes.
INBOUND_TIME: Message = {
    "timeout": "0s",
    "max_stream_duration": {"max_stream_duration": "0s", "grpc_timeout_header_max": "0s"},
}

_DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_PREVIOUS_HOSTS = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {"@type": T + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
}
_REMOTE_LOCALITIES = {
    "name": "envoy.retry_priorities.previous_priorities",
    "typed_config": {
        "@type": T + "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        "update_frequency": 2,
    },
}
_STATUS_CODES = "retriable-status-codes"


def time_limits(timeout: str | None) -> Message:
    """The timeout of a route; none if unset. gRPC clients may ask for less, and for anything where there is none."""
    limit = duration(timeout) if timeout else "0s"
    # No max_stream_duration: beside it Envoy ignores the timeout.
    return {"timeout": limit, "max_grpc_timeout": limit}


def retry_policy(
    retries: HTTPRetry | None, default: HttpRetryPolicy, *, hashed: bool = False
) -> Message | None:
    """None when nothing is retried. `hashed`: consistent hashing picks the host, so a retry goes there again."""
    policy = retries or default
    if policy.attempts <= 0:
        return None
    conditions, codes = _retry_on(policy.retryOn or _DEFAULT_RETRY_ON)
    message: Message = {"retry_on": conditions, "num_retries": policy.attempts}
    if codes:
        message["retriable_status_codes"] = codes
    elsewhere = policy.retryIgnorePreviousHosts
    if elsewhere if elsewhere is not None else not hashed:
        message["retry_host_predicate"] = [_PREVIOUS_HOSTS]
        message["host_selection_retry_max_attempts"] = "5"
    if policy.retryRemoteLocalities:
        message["retry_priority"] = _REMOTE_LOCALITIES
    if policy.perTryTimeout:
        message["per_try_timeout"] = duration(policy.perTryTimeout)
    if policy.backoff:
        base = parse_duration(policy.backoff)
        message["retry_back_off"] = {
            "base_interval": seconds(base),
            "max_interval": seconds(base * Decimal(10)),
        }
    return message


def _retry_on(text: str) -> tuple[str, list[int]]:
    """Numbers that are HTTP statuses become retriable status codes, and the condition that reads them is added."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    codes = [int(word) for word in words if _is_status(word)]
    conditions = [word for word in words if not _is_status(word)]
    if codes and _STATUS_CODES not in conditions:
        conditions.append(_STATUS_CODES)
    return ",".join(conditions), codes


def _is_status(word: str) -> bool:
    """Whether this is the number of a registered status; Envoy passes over words it does not know."""
    return word.isascii() and word.isdigit() and int(word) in HTTPStatus._value2member_map_
