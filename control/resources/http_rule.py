"""The `http` rules of a VirtualService.

The types are the API's, and each checks itself. Reference: istio.io/api networking/v1alpha3/virtual_service.proto; validation as
istio's validateHTTPRoute, validateHTTPRouteConflict, validateHTTPRetry.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Literal

from control.resources.destination import Destination, weight_problems
from control.resources.http_filter import (
    CorsPolicy,
    HTTPFaultInjection,
    HTTPMirrorPolicy,
    mirror_share,
    status_problem,
)
from control.resources.http_headers import Headers, authority_problems, header_name_problem, line_problem
from control.resources.istio_types import (
    DisablingDuration,
    Duration,
    Int32,
    PercentModel,
    PortNumber,
    StringMatch,
    UInt32,
    gateway_problems,
    is_short,
    label_problems,
    namespace_problem,
)
from control.resources.kind import FieldError
from control.resources.model import Model
from control.resources.regex import regex_problem

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
_STATUS_CODES = frozenset(str(int(status)) for status in HTTPStatus)
_LARGE_BODY, _MAX_BODY = 100 * 1024, 1024 * 1024  # bytes of a direct response: a warning, a refusal
_MAX_QUERY_NAME = 1024  # bytes; envoy's QueryParameterMatcher
_JWT_CLAIM = ("@request.auth.claims.", "[@request.auth.claims", "@request.auth.claims[")


class HTTPRouteDestination(Model):
    """A weighted destination of a request."""

    destination: Destination
    weight: Int32 = 0
    headers: Headers | None = None


def query_name_problem(name: str) -> str | None:
    if not name:
        return "query parameter name cannot be empty"
    if len(name.encode(errors="surrogatepass")) > _MAX_QUERY_NAME:
        return f"query parameter name is too long, max length allowed is {_MAX_QUERY_NAME}"
    return None


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

    def problems(self) -> Iterator[FieldError]:
        for field in ("uri", "scheme", "method", "authority"):
            value: StringMatch | None = getattr(self, field)
            if value is not None:
                yield from value.refused(field, field)
        for field in ("headers", "withoutHeaders", "queryParams"):
            values: dict[str, StringMatch] = getattr(self, field) or {}
            for name, value in values.items():
                yield from self._name_problems(field, name)
                yield from value.refused(field, f"{field}.{name}")
        yield from label_problems(self.sourceLabels, "sourceLabels")
        yield from gateway_problems(self.gateways, "gateways")
        if namespace_problem(self.sourceNamespace):
            yield FieldError("sourceNamespace", f"sourceNamespace match is invalid: {self.sourceNamespace}")

    def _name_problems(self, field: str, name: str) -> Iterator[FieldError]:
        if field == "queryParams":
            problem = query_name_problem(name)
        else:
            problem = None if name.startswith((":", *_JWT_CLAIM)) else header_name_problem(name)
        if problem:
            yield FieldError(f"{field}.{name}" if name else field, problem)

    def claims(self) -> Iterator[str]:
        """Paths of the header matches that ask for JWT claims."""
        for field, headers in (("headers", self.headers), ("withoutHeaders", self.withoutHeaders)):
            for name in headers or {}:
                if name.startswith(_JWT_CLAIM):
                    yield f"{field}.{name}"


class HTTPRedirect(Model):
    """Answers with a redirect."""

    uri: str | None = None
    authority: str | None = None
    port: PortNumber | None = None
    derivePort: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    scheme: str | None = None
    redirectCode: UInt32 | None = None

    def problems(self) -> Iterator[FieldError]:
        if not (self.uri or self.authority or self.scheme or self.port or self.derivePort):
            yield FieldError("", "redirect must specify URI, authority, scheme, or port")
        if self.port is not None and self.derivePort is not None:
            yield FieldError("derivePort", "only one of port and derivePort may be set")
        for field in ("uri", "authority"):
            problem = line_problem(getattr(self, field))
            if problem:
                yield FieldError(field, problem)
        if self.scheme and self.scheme not in ("http", "https"):
            yield FieldError("scheme", 'invalid redirect scheme, must be "http" or "https"')
        code = self.redirectCode
        if code and not 300 <= code <= 399:
            yield FieldError("redirectCode", f"{code} is not a valid redirect code, must be 3xx")
        elif code and code not in (301, 302, 303, 307, 308):
            why = f"{code} is not a valid redirect code, must be one of 301, 302, 303, 307, 308"
            yield FieldError("redirectCode", why)


class HTTPBody(Model):
    """A body, as text or as base64."""

    string: str | None = None
    bytes: str | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.string is not None and self.bytes is not None:
            yield FieldError("", "only one of string and bytes may be set")
        try:
            base64.b64decode(self.bytes or "", validate=True)
        except (binascii.Error, ValueError) as exc:
            yield FieldError("bytes", f"illegal base64 data: {str(exc)[:1].lower()}{str(exc)[1:]}")

    def size(self) -> int:
        """Bytes of the body; those of `bytes` as they are written."""
        return len((self.string or self.bytes or "").encode(errors="surrogatepass"))


class HTTPDirectResponse(Model):
    """Answers with a fixed response."""

    status: UInt32
    body: HTTPBody | None = None

    def problems(self) -> Iterator[FieldError]:
        problem = status_problem(self.status)
        if problem:
            yield FieldError("status", problem)
        if self.body is not None and self.body.size() > _MAX_BODY:
            yield FieldError(
                "body", "large direct_responses may impact control plane performance, must be less than 1MB"
            )

    def doubts(self) -> Iterator[FieldError]:
        if self.body is not None and self.body.size() > _LARGE_BODY:
            yield FieldError("body", "large direct_responses may impact control plane performance")


class RegexRewrite(Model):
    """Replaces what an expression matches in the path."""

    match: str = ""
    rewrite: str = ""

    def problems(self) -> Iterator[FieldError]:
        if not self.match or not self.rewrite:
            yield FieldError("", "UriRegexRewrite requires both Rewrite and Match fields to be specified")
            return
        problem = regex_problem(self.match, "uriRegexRewrite.match")
        if problem:
            yield FieldError("match", problem)
        problem = line_problem(self.rewrite)
        if problem:
            yield FieldError("rewrite", problem)


class HTTPRewrite(Model):
    """Changes path and authority before the request is forwarded."""

    uri: str | None = None
    authority: str | None = None
    uriRegexRewrite: RegexRewrite | None = None

    def problems(self) -> Iterator[FieldError]:
        if not (self.uri or self.authority or self.uriRegexRewrite):
            yield FieldError("", "rewrite must specify URI, UriRegexRewrite, or authority")
        if self.uri and self.uriRegexRewrite:
            yield FieldError("", "rewrite may only contain one of URI or UriRegexRewrite")
        for field in ("uri", "authority"):
            problem = line_problem(getattr(self, field))
            if problem:
                yield FieldError(field, problem)


class HTTPRetry(Model):
    """Which failures are retried, how often and how fast."""

    attempts: Int32 = 0
    perTryTimeout: Duration | None = None
    retryOn: str | None = None
    retryRemoteLocalities: bool | None = None
    retryIgnorePreviousHosts: bool | None = None
    backoff: Duration | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.backoff is not None and not is_short(self.backoff):
            yield FieldError("backoff", "backoff is too long, at most 256204h")
        if self.attempts < 0:
            yield FieldError("attempts", "attempts cannot be negative")
        if self.attempts == 0 and (self.perTryTimeout or self.retryOn or self.retryRemoteLocalities):
            yield FieldError("", "http retry policy configured when attempts are set to 0 (disabled)")
        for policy in (self.retryOn or "").split(","):
            if self.retryOn and policy not in RETRY_ON and policy not in _STATUS_CODES:
                yield FieldError("retryOn", f"{json.dumps(policy)} is not a valid retryOn policy")


class Delegate(Model):
    """A VirtualService that holds the rules."""

    name: str
    namespace: str | None = None


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
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: list[HTTPMirrorPolicy] | None = None
    mirrorPercent: UInt32 | None = None
    mirror_percent: UInt32 | None = None
    mirrorPercentage: PercentModel | None = None
    corsPolicy: CorsPolicy | None = None
    headers: Headers | None = None
    websocketUpgrade: bool | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from weight_problems([entry.weight for entry in self.route or []])
        yield from self._conflicts()
        yield from authority_problems(self.rewrite.authority if self.rewrite else None, self.headers)
        yield from mirror_share("mirrorPercentage", self.mirrorPercentage)
        for field in ("mirrorPercent", "mirror_percent"):
            percent = getattr(self, field)
            if percent is not None and percent > 100:
                yield FieldError(field, f"mirror_percent must have a max value of 100 (it has {percent})")

    def doubts(self) -> Iterator[FieldError]:
        for field in ("mirrorPercent", "mirror_percent"):
            if getattr(self, field) is not None:
                yield FieldError(
                    field, 'using deprecated setting "mirrorPercent", use "mirrorPercentage" instead'
                )
        if self.websocketUpgrade is not None:
            why = 'using deprecated setting "websocketUpgrade", websocket connections are always upgraded'
            yield FieldError("websocketUpgrade", why)
        if self.fault is not None and (self.retries is not None or self.timeout is not None):
            names = " and ".join(name for name in ("timeout", "retries") if getattr(self, name) is not None)
            yield FieldError(
                "fault", f"{names} of the rule will not be enabled for faults injected on the client side"
            )

    def _conflicts(self) -> Iterator[FieldError]:
        """Fields that may not stand together."""
        if self.delegate is not None:
            yield from self._root_conflicts()
        elif self.redirect is not None:
            yield from self._excludes("redirect", "redirect", "route", "fault", "rewrite", "directResponse")
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
                rule = "HTTP route" if other in ("route", "fault") else "HTTP route rule"
                yield FieldError(field, f"{rule} cannot contain both {words.get(other, other)} and {word}")
