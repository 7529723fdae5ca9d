"""The retry policy of a route.

Reference: istio's pilot/pkg/networking/core/route/retry/retry.go.
"""

from __future__ import annotations

from decimal import Decimal

from control.compile.protobuf import Message, T, duration, seconds
from control.mesh_config import HttpRetryPolicy
from control.resources.http_rule import HTTPRetry
from control.resources.istio_types import parse_duration

# What the server sidecar retries towards its own app.
INBOUND: Message = {"retry_on": "reset-before-request", "num_retries": 2}

_PREVIOUS_HOSTS = {
    "name": "envoy.retry_host_predicates.previous_hosts",
    "typed_config": {"@type": T + "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
}
_STATUS_CODES = "retriable-status-codes"


def retry_policy(retries: HTTPRetry | None, default: HttpRetryPolicy) -> Message | None:
    """None when nothing is retried."""
    attempts = retries.attempts if retries else default.attempts
    if attempts <= 0:
        return None
    conditions, codes = _retry_on((retries.retryOn if retries else None) or default.retryOn)
    message: Message = {"retry_on": conditions, "num_retries": attempts}
    if codes:
        message["retriable_status_codes"] = codes
    if retries is None or retries.retryIgnorePreviousHosts is not False:
        message["retry_host_predicate"] = [_PREVIOUS_HOSTS]
        message["host_selection_retry_max_attempts"] = "5"
    if retries and retries.perTryTimeout:
        message["per_try_timeout"] = duration(retries.perTryTimeout)
    if retries and retries.backoff:
        base = parse_duration(retries.backoff)
        message["retry_back_off"] = {
            "base_interval": seconds(base),
            "max_interval": seconds(base * Decimal(10)),
        }
    return message


def _retry_on(text: str) -> tuple[str, list[int]]:
    """Numbers become retriable status codes; `retriable-status-codes` is always added, as Istio does."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    codes = [int(word) for word in words if word.isdigit()]
    conditions = [word for word in words if not word.isdigit()]
    if _STATUS_CODES not in conditions:
        conditions.append(_STATUS_CODES)
    return ",".join(conditions), codes
