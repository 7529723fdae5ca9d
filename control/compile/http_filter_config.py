"""What a VirtualService's rule says to the fault and CORS filters (`typed_per_filter_config`).

Both filters are in every HTTP chain of a client and do nothing by themselves.
Reference: istio's pilot/pkg/networking/core/route/route.go (TranslateFault, TranslateCORSPolicy).
"""

from __future__ import annotations

from control.compile.protobuf import Message, T, duration
from control.resources.http_filter import (
    GRPC_STATUSES,
    CorsPolicy,
    FaultAbort,
    FaultDelay,
    HTTPFaultInjection,
)
from control.resources.http_rule import HTTPRoute
from control.resources.istio_types import PercentModel, StringMatch, parse_duration

FAULT, CORS = "envoy.filters.http.fault", "envoy.filters.http.cors"
FAULT_TYPE = "envoy.extensions.filters.http.fault.v3.HTTPFault"
CORS_TYPE = "envoy.extensions.filters.http.cors.v3.Cors"
_CORS_POLICY = "envoy.extensions.filters.http.cors.v3.CorsPolicy"


def per_filter_config(rule: HTTPRoute) -> Message:
    """By filter name; empty for a rule without faults and CORS policy."""
    found: Message = {}
    fault = fault_config(rule.fault) if rule.fault is not None else {}
    if fault:
        found[FAULT] = {"@type": T + FAULT_TYPE, **fault}
    if rule.corsPolicy is not None:
        found[CORS] = {"@type": T + _CORS_POLICY, **cors_policy(rule.corsPolicy)}
    return found


def fault_config(fault: HTTPFaultInjection) -> Message:
    """Empty if neither part can act."""
    message: Message = {}
    if fault.delay is not None and fault.delay.fixedDelay is not None:
        message["delay"] = _delay(fault.delay, fault.delay.fixedDelay)
    if fault.abort is not None and (fault.abort.httpStatus or fault.abort.grpcStatus):
        message["abort"] = _abort(fault.abort)
    return message


def _delay(delay: FaultDelay, fixed: str) -> Message:
    """Without `percentage` the deprecated whole `percent` counts, which is 0 if unset: no delay."""
    share = {"numerator": delay.percent or 0, "denominator": "HUNDRED"}
    return {
        "fixed_delay": duration(fixed),
        "percentage": share if delay.percentage is None else fraction(delay.percentage),
    }


def _abort(abort: FaultAbort) -> Message:
    """Without `percentage` it never happens, as in Istio."""
    message: Message = (
        {"http_status": abort.httpStatus}
        if abort.httpStatus
        else {"grpc_status": GRPC_STATUSES.index(abort.grpcStatus or "OK")}
    )
    if abort.percentage is not None:
        message["percentage"] = fraction(abort.percentage)
    return message


def fraction(percentage: PercentModel) -> Message:
    """A percentage in millionths: steps of 0.0001 %."""
    return {"numerator": round((percentage.value or 0) * 10_000), "denominator": "MILLION"}


def cors_policy(policy: CorsPolicy) -> Message:
    message: Message = {"filter_enabled": {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}}
    if policy.allowOrigins is not None:
        message["allow_origin_string_match"] = [_origin(match) for match in policy.allowOrigins]
    elif policy.allowOrigin is not None:
        message["allow_origin_string_match"] = [{"exact": origin} for origin in policy.allowOrigin]
    if policy.allowCredentials is not None:
        message["allow_credentials"] = policy.allowCredentials
    for field, values in (
        ("allow_headers", policy.allowHeaders),
        ("allow_methods", policy.allowMethods),
        ("expose_headers", policy.exposeHeaders),
    ):
        if values:
            message[field] = ",".join(values)
    if policy.unmatchedPreflights in ("FORWARD", "IGNORE"):
        message["forward_not_matching_preflights"] = policy.unmatchedPreflights == "FORWARD"
    if policy.maxAge is not None:
        message["max_age"] = str(int(parse_duration(policy.maxAge)))
    return message


def _origin(match: StringMatch) -> Message:
    if match.regex:
        return {"safe_regex": {"regex": match.regex}}
    return {"prefix": match.prefix} if match.prefix else {"exact": match.exact or ""}
