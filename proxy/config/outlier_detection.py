"""When a host is taken out of load balancing for how it answers. Reference: envoy/config/cluster/v3/outlier_detection.proto."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from proxy.config.values import Duration, Message, UInt32, require_one

Percentage = Annotated[int, msgspec.Meta(ge=0, le=100)]
_DEFAULT_MAX_EJECTION_TIME = 300.0  # s


class OutlierDetection(Message):
    """Defaults are Envoy's. `enforcing_*` are percent of the detections that lead to an ejection."""

    consecutive_5xx: UInt32 = 5
    consecutive_gateway_failure: UInt32 = 5
    consecutive_local_origin_failure: UInt32 = 5
    split_external_local_origin_errors: bool = False
    interval: Duration = Duration(10.0)
    base_ejection_time: Duration = Duration(30.0)
    max_ejection_time: Duration | None = None
    max_ejection_time_jitter: Duration = Duration(0.0)
    max_ejection_percent: Percentage = 10
    always_eject_one_host: bool = False
    successful_active_health_check_uneject_host: bool = True
    """Only speaks to active health checks, which this sidecar makes none of."""
    enforcing_consecutive_5xx: Percentage = 100
    enforcing_consecutive_gateway_failure: Percentage = 0
    enforcing_consecutive_local_origin_failure: Percentage = 100
    enforcing_success_rate: Percentage = 100
    enforcing_local_origin_success_rate: Percentage = 100
    success_rate_minimum_hosts: UInt32 = 5
    success_rate_request_volume: UInt32 = 100
    success_rate_stdev_factor: UInt32 = 1900
    """In thousandths of a standard deviation."""
    enforcing_failure_percentage: Percentage = 0
    enforcing_failure_percentage_local_origin: Percentage = 0
    failure_percentage_threshold: Percentage = 85
    failure_percentage_minimum_hosts: UInt32 = 5
    failure_percentage_request_volume: UInt32 = 50

    def __post_init__(self) -> None:
        for name in ("interval", "base_ejection_time", "max_ejection_time"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be greater than 0s")
        if self.longest_ejection < self.base_ejection_time:
            raise ValueError("max_ejection_time cannot be smaller than base_ejection_time")

    @property
    def longest_ejection(self) -> float:
        """Seconds one ejection lasts at most, jitter aside."""
        if self.max_ejection_time is not None:
            return float(self.max_ejection_time)
        return max(_DEFAULT_MAX_EJECTION_TIME, float(self.base_ejection_time))


class StatusString(Message):
    exact: str


class StatusMatcher(Message):
    """A match of the response's status alone: what Istio makes of a list of codes."""

    name: Literal[":status"]
    string_match: StatusString

    def __post_init__(self) -> None:
        if not self.string_match.exact.isdecimal():
            raise ValueError(f"{self.string_match.exact!r} is no HTTP status")


class ResponseHeadersMatch(Message):
    headers: list[StatusMatcher]

    def __post_init__(self) -> None:
        if len(self.headers) != 1:
            raise ValueError("want exactly one header matcher")


class StatusPredicate(Message):
    http_response_headers_match: ResponseHeadersMatch

    @property
    def status(self) -> int:
        return int(self.http_response_headers_match.headers[0].string_match.exact)


class PredicateSet(Message):
    rules: list[StatusPredicate]


class ErrorMatcher(Message):
    """Which responses count as errors. Of Envoy's MatchPredicate: one status, or any of several."""

    or_match: PredicateSet | None = None
    http_response_headers_match: ResponseHeadersMatch | None = None

    def __post_init__(self) -> None:
        require_one(self, "or_match", "http_response_headers_match")

    @property
    def statuses(self) -> frozenset[int]:
        if self.or_match is not None:
            return frozenset(rule.status for rule in self.or_match.rules)
        assert self.http_response_headers_match is not None
        return frozenset(
            {StatusPredicate(http_response_headers_match=self.http_response_headers_match).status}
        )


class HttpOutlierDetection(Message):
    """`outlier_detection` of a cluster's HTTP protocol options."""

    error_matcher: ErrorMatcher | None = None
