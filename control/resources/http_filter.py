"""What a VirtualService's rule does beside routing: faults, CORS, copies.

Reference: istio.io/api networking/v1alpha3/virtual_service.proto; validation as istio's validateHTTPFaultInjection,
validateCORSPolicy, validateHTTPMirrors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

from control.resources.destination import Destination
from control.resources.http_headers import header_name_problem
from control.resources.istio_types import Duration, Int32, PercentModel, Seconds, StringMatch
from control.resources.kind import FieldError
from control.resources.model import Model

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
GRPC_STATUSES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)  # in the order of their numbers
_GRPC_CODES = "https://github.com/grpc/grpc/blob/master/doc/statuscodes.md"
_SMALLEST = 0.0001  # percent; a fault's share is told in millionths


def status_problem(status: int) -> str | None:
    return None if 200 <= status <= 599 else f"HTTP status {status} is not in range 200..599"


def _fault_share(percentage: PercentModel | None) -> Iterator[FieldError]:
    value = percentage.value if percentage else None
    if value and not _SMALLEST <= value <= 100:
        why = f"percentage {value:g} is neither 0.0, nor in range [0.0001, 100.0]"
        yield FieldError("percentage.value", why)


def _never(percentage: PercentModel | None) -> bool:
    """Whether a share was left out, which is none. One of 0 is meant."""
    return percentage is None or percentage.value is None


class FaultDelay(Model):
    """Delays requests."""

    fixedDelay: Duration | None = None
    exponentialDelay: Duration | None = None
    percent: Int32 | None = None
    percentage: PercentModel | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from _fault_share(self.percentage)
        if self.percent is not None and not 0 <= self.percent <= 100:
            yield FieldError("percent", f"percentage {self.percent} is not in range 0..100")
        if self.fixedDelay is not None and self.exponentialDelay is not None:
            yield FieldError("", "only one of fixedDelay and exponentialDelay may be set")
        elif self.exponentialDelay is not None:
            yield FieldError("exponentialDelay", "exponentialDelay not supported yet")

    def doubts(self) -> Iterator[FieldError]:
        if self.percent:
            yield FieldError("percent", 'using deprecated setting "percent", use "percentage" instead')
        elif _never(self.percentage):
            yield FieldError("", "no percentage is set: no request is delayed")


class FaultAbort(Model):
    """Answers requests with an error."""

    httpStatus: Int32 | None = None
    grpcStatus: str | None = None
    http2Error: str | None = None
    percentage: PercentModel | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from _fault_share(self.percentage)
        given = [
            name for name in ("httpStatus", "grpcStatus", "http2Error") if getattr(self, name) is not None
        ]
        if len(given) > 1:
            yield FieldError(
                "", f"only one of httpStatus, grpcStatus, http2Error may be set, not {', '.join(given)}"
            )
        problem = status_problem(self.httpStatus) if self.httpStatus is not None else None
        if problem:
            yield FieldError("httpStatus", problem)
        if self.grpcStatus is not None and self.grpcStatus not in GRPC_STATUSES:
            yield FieldError(
                "grpcStatus",
                f"gRPC status {json.dumps(self.grpcStatus)} is not supported. See {_GRPC_CODES} for a list of supported codes",
            )
        if self.http2Error is not None:
            yield FieldError("http2Error", "HTTP/2 abort fault injection not supported yet")

    def doubts(self) -> Iterator[FieldError]:
        if _never(self.percentage):
            yield FieldError("", "no percentage is set: no request is aborted")


class HTTPFaultInjection(Model):
    """Faults injected before a request is forwarded."""

    delay: FaultDelay | None = None
    abort: FaultAbort | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.delay is None and self.abort is None:
            yield FieldError("", "HTTP fault injection must have an abort and/or a delay")


def mirror_share(field: str, percentage: PercentModel | None) -> Iterator[FieldError]:
    value = percentage.value if percentage else None
    if value is not None and value > 100:
        yield FieldError(
            f"{field}.value", f"mirror_percentage must have a max value of 100 (it has {value:f})"
        )
    if value is not None and value < 0:
        yield FieldError(f"{field}.value", f"mirror_percentage must have a min value of 0 (it has {value:f})")


class HTTPMirrorPolicy(Model):
    """A second destination that gets a copy."""

    destination: Destination
    percentage: PercentModel | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from mirror_share("percentage", self.percentage)


class CorsPolicy(Model):
    """Which other origins browsers may call from."""

    allowOrigin: list[str] | None = None
    allowOrigins: list[StringMatch] | None = None
    allowMethods: list[str] | None = None
    allowHeaders: list[str] | None = None
    exposeHeaders: list[str] | None = None
    maxAge: Seconds | None = None
    allowCredentials: bool | None = None
    unmatchedPreflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] | None = None

    def problems(self) -> Iterator[FieldError]:
        for index, origin in enumerate(self.allowOrigins or []):
            if not (origin.exact or origin.prefix or origin.regex):
                yield FieldError(
                    f"allowOrigins[{index}]", "'' is not a valid match type for CORS allow origins"
                )
            else:
                yield from origin.refused("corsPolicy.allowOrigins", f"allowOrigins[{index}]", star=False)
        for index, method in enumerate(self.allowMethods or []):
            if method not in _METHODS and method != "*":
                yield FieldError(
                    f"allowMethods[{index}]", f"{json.dumps(method)} is not a supported HTTP method"
                )
        for field in ("allowHeaders", "exposeHeaders"):
            for index, name in enumerate(getattr(self, field) or []):
                problem = header_name_problem(name)
                if problem:
                    yield FieldError(f"{field}[{index}]", problem)

    def doubts(self) -> Iterator[FieldError]:
        if self.allowOrigin:
            yield FieldError(
                "allowOrigin", 'using deprecated setting "allowOrigin", use "allowOrigins" instead'
            )
