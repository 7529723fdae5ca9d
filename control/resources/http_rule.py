"""The `http` rules of a VirtualService.

The types are the API's, and each checks itself. Reference: istio.io/api networking/v1alpha3/virtual_service.proto; validation as
istio's validateHTTPRoute, validateHTTPRouteConflict, validateHTTPRetry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import model_validator

from control.resources.destination import Destination, check_weights
from control.resources.istio_types import (
    NOT_YET,
    AnyDuration,
    DisablingDuration,
    Duration,
    NotNegative,
    PercentModel,
    PortNumber,
    Regex,
    StringMatch,
    UInt32,
    header_name_problem,
)
from control.resources.kind import FieldError
from control.resources.model import AnyObject, Model

RETRY_ON = frozenset(
    {
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "envoy-ratelimited",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    }
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
_MAX_DIRECT_BODY = 1024 * 1024  # bytes; Envoy's max_direct_response_body_size_bytes as Istio sets it


def _is_status(text: str) -> bool:
    return text.isascii() and text.isdigit() and 100 <= int(text) <= 599


class HeaderOperations(Model):
    """Headers to set, add and remove."""

    set: dict[str, str] | None = None
    add: dict[str, str] | None = None
    remove: list[str] | None = None

    @model_validator(mode="after")
    def _names(self) -> HeaderOperations:
        return self.found(*self._problems())

    def _problems(self) -> Iterator[FieldError]:
        for field, names, host_allowed in (
            ("set", self.set or {}, True),
            ("add", self.add or {}, False),
            ("remove", self.remove or [], False),
        ):
            for name in names:
                lower = name.lower()
                if lower in (":authority", "host") and host_allowed:
                    continue
                problem = header_name_problem(name)
                if name.startswith(":"):
                    problem = f'invalid header {json.dumps(name)}: header cannot have ":" prefix'
                elif lower == "host":
                    problem = f"invalid header {json.dumps(name)}: cannot {field} the Host header"
                if problem:
                    yield FieldError(f"{field}.{name}" if name else field, problem)


class Headers(Model):
    """Operations on the headers of the request and of the response."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


class HTTPRouteDestination(Model):
    """A weighted destination of a request."""

    destination: Destination
    weight: NotNegative = 0
    headers: Headers | None = None


class HTTPMatchRequest(Model):
    """Conditions on a request; all must hold."""

    name: str | None = None
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch] | None = None
    port: PortNumber | None = None
    sourceLabels: dict[str, str] | None = None
    gateways: list[str] | None = None
    queryParams: dict[str, StringMatch] | None = None
    ignoreUriCase: bool = False
    withoutHeaders: dict[str, StringMatch] | None = None
    sourceNamespace: str | None = None
    statPrefix: str | None = None

    @model_validator(mode="after")
    def _names(self) -> HTTPMatchRequest:
        return self.found(*self._problems())

    def _problems(self) -> Iterator[FieldError]:
        for field, headers in (("headers", self.headers), ("withoutHeaders", self.withoutHeaders)):
            for name in headers or {}:
                problem = None if name.startswith((":", "@", "[@")) else header_name_problem(name)
                if problem:
                    yield FieldError(f"{field}.{name}" if name else field, problem)
        for name in self.queryParams or {}:
            if not name:
                yield FieldError("queryParams", "query parameter name cannot be empty")
        for key in self.sourceLabels or {}:
            if not key:
                yield FieldError("sourceLabels", "source label key cannot be empty")


class HTTPRedirect(Model):
    """Answers with a redirect."""

    uri: str | None = None
    authority: str | None = None
    port: PortNumber | None = None
    derivePort: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    scheme: str | None = None
    redirectCode: UInt32 | None = None

    @model_validator(mode="after")
    def _valid(self) -> HTTPRedirect:
        return self.found(*self._problems())

    def _problems(self) -> Iterator[FieldError]:
        if not (self.uri or self.authority or self.scheme or self.port or self.derivePort):
            yield FieldError("", "redirect must specify URI, authority, scheme, or port")
        if self.port is not None and self.derivePort is not None:
            yield FieldError("derivePort", "only one of port and derivePort may be set")
        if self.scheme and self.scheme not in ("http", "https"):
            yield FieldError("scheme", 'invalid redirect scheme, must be "http" or "https"')
        if self.redirectCode and self.redirectCode not in (301, 302, 303, 307, 308):
            yield FieldError(
                "redirectCode",
                f"{self.redirectCode} is not a valid redirect code; must be one of 301, 302, 303, 307, 308",
            )


class HTTPBody(Model):
    """A body, as text or as base64."""

    string: str | None = None
    bytes: str | None = None


class HTTPDirectResponse(Model):
    """Answers with a fixed response."""

    status: UInt32
    body: HTTPBody | None = None

    @model_validator(mode="after")
    def _valid(self) -> HTTPDirectResponse:
        return self.found(*self._problems())

    def _problems(self) -> Iterator[FieldError]:
        if not 200 <= self.status <= 599:
            yield FieldError("status", f"HTTP status {self.status} is not in range 200..599")
        body = self.body
        if body is not None and body.string is not None and body.bytes is not None:
            yield FieldError("body", "only one of string and bytes may be set")
        text = (body.string or body.bytes or "") if body else ""
        if len(text.encode()) > _MAX_DIRECT_BODY:
            yield FieldError(
                "body", f"body is too large: {len(text.encode())} bytes, at most {_MAX_DIRECT_BODY}"
            )


class RegexRewrite(Model):
    """Replaces what an expression matches in the path."""

    match: Regex = ""
    rewrite: str = ""

    @model_validator(mode="after")
    def _both(self) -> RegexRewrite:
        if not self.match or not self.rewrite:
            return self.found(
                FieldError("", "UriRegexRewrite requires both Rewrite and Match fields to be specified")
            )
        return self


class HTTPRewrite(Model):
    """Changes path and authority before the request is forwarded."""

    uri: str | None = None
    authority: str | None = None
    uriRegexRewrite: RegexRewrite | None = None

    @model_validator(mode="after")
    def _valid(self) -> HTTPRewrite:
        if not (self.uri or self.authority or self.uriRegexRewrite):
            return self.found(FieldError("", "rewrite must specify URI, UriRegexRewrite, or authority"))
        if self.uri and self.uriRegexRewrite:
            return self.found(FieldError("", "rewrite may only contain one of URI or UriRegexRewrite"))
        return self


class HTTPRetry(Model):
    """Which failures are retried, how often and how fast."""

    attempts: NotNegative = 0
    perTryTimeout: Duration | None = None
    retryOn: str | None = None
    retryRemoteLocalities: Annotated[bool | None, NOT_YET] = None
    retryIgnorePreviousHosts: bool | None = None
    backoff: Duration | None = None

    @model_validator(mode="after")
    def _valid(self) -> HTTPRetry:
        return self.found(*self._problems())

    def _problems(self) -> Iterator[FieldError]:
        if self.attempts == 0 and (self.perTryTimeout or self.retryOn or self.retryRemoteLocalities):
            yield FieldError("", "http retry policy configured when attempts are set to 0 (disabled)")
        for policy in (self.retryOn or "").split(","):
            if policy and policy not in RETRY_ON and not _is_status(policy):
                yield FieldError("retryOn", f"{json.dumps(policy)} is not a valid retryOn policy")


class Delegate(Model):
    """A VirtualService that holds the rules."""

    name: str
    namespace: str | None = None


class FaultDelay(Model):
    """Delays requests."""

    fixedDelay: Duration | None = None
    exponentialDelay: Duration | None = None
    percent: int | None = None
    percentage: PercentModel | None = None


class FaultAbort(Model):
    """Answers requests with an error."""

    httpStatus: int | None = None
    grpcStatus: str | None = None
    http2Error: str | None = None
    percentage: PercentModel | None = None

    @model_validator(mode="after")
    def _valid(self) -> FaultAbort:
        if self.httpStatus is not None and not 200 <= self.httpStatus <= 599:
            return self.found(
                FieldError("httpStatus", f"HTTP status {self.httpStatus} is not in range 200..599")
            )
        return self


class HTTPFaultInjection(Model):
    """Faults injected before a request is forwarded."""

    delay: FaultDelay | None = None
    abort: FaultAbort | None = None

    @model_validator(mode="after")
    def _valid(self) -> HTTPFaultInjection:
        if self.delay is None and self.abort is None:
            return self.found(FieldError("", "HTTP fault injection must have an abort and/or a delay"))
        return self


class HTTPMirrorPolicy(Model):
    """A second destination that gets a copy."""

    destination: Destination
    percentage: PercentModel | None = None


class CorsPolicy(Model):
    """Which other origins browsers may call from."""

    allowOrigin: list[str] | None = None
    allowOrigins: list[StringMatch] | None = None
    allowMethods: list[str] | None = None
    allowHeaders: list[str] | None = None
    exposeHeaders: list[str] | None = None
    maxAge: AnyDuration | None = None
    allowCredentials: bool | None = None
    unmatchedPreflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] | None = None

    @model_validator(mode="after")
    def _valid(self) -> CorsPolicy:
        errors = [
            FieldError(f"allowMethods[{index}]", f"{method} is not a supported HTTP method")
            for index, method in enumerate(self.allowMethods or [])
            if method not in _METHODS and method != "*"
        ]
        for field in ("allowHeaders", "exposeHeaders"):
            for index, name in enumerate(getattr(self, field) or []):
                problem = header_name_problem(name)
                if problem:
                    errors.append(FieldError(f"{field}[{index}]", problem))
        return self.found(*errors)


class HTTPRoute(Model):
    """One rule: matches (any of them), and what to do with the request."""

    name: str | None = None
    match: list[HTTPMatchRequest] | None = None
    route: list[HTTPRouteDestination] | None = None
    redirect: HTTPRedirect | None = None
    directResponse: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: DisablingDuration | None = None
    retries: HTTPRetry | None = None
    fault: Annotated[HTTPFaultInjection | None, NOT_YET] = None
    mirror: Annotated[Destination | None, NOT_YET] = None
    mirrors: Annotated[list[HTTPMirrorPolicy] | None, NOT_YET] = None
    mirrorPercent: Annotated[int | None, NOT_YET] = None
    mirror_percent: Annotated[int | None, NOT_YET] = None
    mirrorPercentage: Annotated[PercentModel | None, NOT_YET] = None
    corsPolicy: Annotated[CorsPolicy | None, NOT_YET] = None
    headers: Headers | None = None
    websocketUpgrade: Annotated[AnyObject | bool | None, NOT_YET] = None

    @model_validator(mode="after")
    def _consistent(self) -> HTTPRoute:
        weights = check_weights([entry.weight for entry in self.route or []], "route")
        return self.found(*weights, *self._conflicts())

    def _conflicts(self) -> Iterator[FieldError]:
        """Fields that may not stand together."""
        if self.delegate is not None:
            yield from self._root_conflicts()
        elif self.redirect is not None:
            yield from self._excludes("redirect", "redirect", "route", "directResponse", "fault", "rewrite")
        elif self.directResponse is not None:
            yield from self._excludes("directResponse", "direct_response", "route", "fault", "rewrite")
        elif not self.route:
            yield FieldError("", "HTTP route, redirect or direct_response is required")
        if self.mirror is not None and self.mirrors:
            yield FieldError("mirrors", "HTTP route cannot contain both mirror and mirrors")

    def _root_conflicts(self) -> Iterator[FieldError]:
        for field in ("route", "redirect", "directResponse"):
            if getattr(self, field):
                yield FieldError(field, f"root HTTP route {self.name or ''} must not specify {field}")

    def _excludes(self, field: str, word: str, *others: str) -> Iterator[FieldError]:
        words = {"directResponse": "direct_response"}
        for other in others:
            if getattr(self, other):
                rule = "HTTP route rule" if other == "rewrite" else "HTTP route"
                yield FieldError(field, f"{rule} cannot contain both {words.get(other, other)} and {word}")
