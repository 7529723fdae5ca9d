"""Outlier detection of a cluster, from a DestinationRule.

Istio leaves Envoy's statistical detection off, and enforces gateway errors only where they are asked for.
Reference: istio's pilot/pkg/networking/core/cluster_traffic_policy.go (applyOutlierDetection).
"""

from __future__ import annotations

from control.compile.protobuf import Message, duration
from control.resources.traffic_policy import OutlierDetection


def outlier_detection(settings: OutlierDetection) -> Message:
    """`outlier_detection` of a cluster; an empty block switches it on with Envoy's defaults.

    The deprecated `consecutiveErrors` has had no effect in Istio for long, and has none here.
    """
    fields: Message = {"enforcing_success_rate": 0}
    five = settings.consecutive5xxErrors
    if five is not None:
        fields["consecutive_5xx"] = five
        # 0 switches a detection off, which Envoy is told by not enforcing it.
        fields["enforcing_consecutive_5xx"] = 100 if five else 0
    gateway = settings.consecutiveGatewayErrors
    if gateway is not None:
        fields["consecutive_gateway_failure"] = gateway
        fields["enforcing_consecutive_gateway_failure"] = 100 if gateway else 0
    for name, value in (("interval", settings.interval), ("base_ejection_time", settings.baseEjectionTime)):
        if value is not None:
            fields[name] = duration(value)
    if settings.maxEjectionPercent:
        fields["max_ejection_percent"] = settings.maxEjectionPercent
    if settings.splitExternalLocalOriginErrors:
        fields["split_external_local_origin_errors"] = True
        if settings.consecutiveLocalOriginFailures:
            fields["consecutive_local_origin_failure"] = settings.consecutiveLocalOriginFailures
            fields["enforcing_consecutive_local_origin_failure"] = 100
        fields["enforcing_local_origin_success_rate"] = 0
    return fields


def error_matcher(settings: OutlierDetection | None) -> Message:
    """`outlier_detection` of the HTTP protocol options: the codes that are errors in place of 5xx; empty without a list."""
    codes = settings.outlierDetectionHttpErrorCodes if settings is not None else None
    if not codes:
        return {}
    rules = [_status(code) for code in codes]
    return {"error_matcher": rules[0] if len(rules) == 1 else {"or_match": {"rules": rules}}}


def _status(code: int) -> Message:
    header = {"name": ":status", "string_match": {"exact": str(code)}}
    return {"http_response_headers_match": {"headers": [header]}}
