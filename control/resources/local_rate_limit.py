"""LocalRateLimit: how many requests a sidecar lets through, by token buckets of its own. A kind of this project, not of Istio.

On the server side it concerns what reaches the selected workloads, on the client side what takes routes of a VirtualService.
It becomes Envoy's local rate limit filter; the words are that filter's.
Reference: docs/local-rate-limit.md; Envoy envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, Field

from control.resources.http_headers import header_name_problem
from control.resources.istio_object import IstioObject, istio_validator
from control.resources.istio_types import (
    Duration,
    PercentModel,
    PortNumber,
    StringMatch,
    UInt32,
    WorkloadSelector,
    parse_duration,
)
from control.resources.kind import Column, FieldError, Kind, Object
from control.resources.metadata import META_LIST_KEYS
from control.resources.model import Model, merge_keys, schema

GROUP = "glassmesh.io"
_MIN_FILL_INTERVAL = Decimal("0.05")  # s, Envoy's
_SMALLEST = 0.0001  # percent; a share is told in millionths


def _fill_interval(text: str) -> str:
    if parse_duration(text) < _MIN_FILL_INTERVAL:
        raise ValueError("must be at least 50ms")
    return text


def _error_status(status: int) -> int:
    if not 400 <= status <= 599:
        raise ValueError(f"HTTP status {status} is not in range 400..599")
    return status


FillInterval = Annotated[Duration, AfterValidator(_fill_interval)]
ErrorStatus = Annotated[int, AfterValidator(_error_status)]


class TokenBucket(Model):
    """Full at first, with maxTokens; tokensPerFill (1 if unset) come in each fillInterval, evenly."""

    maxTokens: UInt32
    tokensPerFill: UInt32 | None = None
    fillInterval: FillInterval

    def problems(self) -> Iterator[FieldError]:
        if self.maxTokens == 0:
            yield FieldError("maxTokens", "must be greater than 0")
        if self.tokensPerFill == 0:
            yield FieldError("tokensPerFill", "must be greater than 0")


class RequestMatch(Model):
    """Which requests a limit concerns; all conditions must hold. The path is matched without its query."""

    path: StringMatch | None = None
    method: StringMatch | None = None
    headers: dict[str, StringMatch] | None = Field(
        None, description="By the name of the header; {} means that it is present."
    )

    def problems(self) -> Iterator[FieldError]:
        if self.path is None and self.method is None and not self.headers:
            yield FieldError("", "match must have a path, a method or headers")
        for field, match in (("path", self.path), ("method", self.method)):
            if match is not None:
                yield from match.refused(field, field)
                if not (match.exact or match.prefix or match.regex):
                    yield FieldError(field, "one of exact, prefix and regex must be set")
        for name, match in (self.headers or {}).items():
            problem = header_name_problem(name)
            if problem:
                yield FieldError(f"headers.{name}" if name else "headers", problem)
            yield from match.refused("headers", f"headers.{name}")


class Each(Model):
    """Gives every value that is met a bucket of its own: of a request header, or of the client's address."""

    header: str | None = Field(None, description="A request without this header is not concerned.")
    clientAddress: bool | None = Field(None, description="The address in the access log.")

    def problems(self) -> Iterator[FieldError]:
        if (self.header is None) is not bool(self.clientAddress):
            yield FieldError("", "exactly one of header and clientAddress must be set")
        problem = header_name_problem(self.header) if self.header is not None else None
        if problem:
            yield FieldError("header", problem)


class Limit(Model):
    """A further bucket, for some requests, or for each value of something."""

    match: RequestMatch | None = None
    each: Each | None = None
    tokenBucket: TokenBucket

    def problems(self) -> Iterator[FieldError]:
        if self.match is None and self.each is None:
            yield FieldError(
                "", "limit must have match or each; the bucket for all requests is spec.tokenBucket"
            )


class VirtualServiceRoutes(Model):
    """Routes of a VirtualService of the same namespace: those with these names, or all of them."""

    virtualService: str
    names: list[str] | None = Field(
        None, description="Names of its routes, http[].name; unset means all of them."
    )

    def problems(self) -> Iterator[FieldError]:
        if not self.virtualService:
            yield FieldError("virtualService", "name of a VirtualService is required")
        for index, name in enumerate(self.names or []):
            if not name:
                yield FieldError(f"names[{index}]", "route name cannot be empty")


class LocalRateLimitSpec(Model):
    """What is limited (workloads and ports, or routes), and how."""

    selector: WorkloadSelector | None = None
    ports: list[PortNumber] | None = Field(
        None, description="Only these ports of the pods, by the pods' own numbers; unset means all of them."
    )
    routes: list[VirtualServiceRoutes] | None = Field(
        None, description="Limits requests that take these routes, at their clients, instead of workloads."
    )
    tokenBucket: TokenBucket
    limits: list[Limit] | None = Field(
        None,
        description="A further bucket each, for some requests. A request needs a token of every one that concerns it.",
    )
    status: ErrorStatus | None = Field(None, description="Of refusals, 400 to 599; unset means 429.")
    responseHeaders: dict[str, str] | None = Field(None, description="Set on refusals.")
    rateLimitHeaders: bool = Field(False, description="Tell x-ratelimit-* on every response.")
    perConnection: bool = Field(False, description="Each connection from a client has buckets of its own.")
    enabledPercentage: PercentModel | None = Field(
        None, description="The share of requests that are counted; unset means all of them."
    )
    enforcedPercentage: PercentModel | None = Field(
        None, description="The share of refusals that are carried out; unset means all of them."
    )

    def problems(self) -> Iterator[FieldError]:
        yield from self._target_problems()
        for name in self.responseHeaders or {}:
            problem = header_name_problem(name)
            if problem:
                yield FieldError(f"responseHeaders.{name}" if name else "responseHeaders", problem)
        for field in ("enabledPercentage", "enforcedPercentage"):
            percentage: PercentModel | None = getattr(self, field)
            value = percentage.value if percentage else None
            if value and not _SMALLEST <= value <= 100:
                why = f"percentage {value:g} is neither 0.0, nor in range [0.0001, 100.0]"
                yield FieldError(f"{field}.value", why)

    def _target_problems(self) -> Iterator[FieldError]:
        if self.routes is not None and (self.selector is not None or self.ports is not None):
            yield FieldError(
                "routes", "routes are limited at their clients, workloads at the servers: set one of both"
            )
        if self.routes is not None and not self.routes:
            yield FieldError("routes", "must have at least one element")
        if self.ports is not None and not self.ports:
            yield FieldError("ports", "must have at least one element")
        for index, port in enumerate(self.ports or []):
            if port in (self.ports or [])[:index]:
                yield FieldError(f"ports[{index}]", f"port {port} stands twice")


class LocalRateLimit(IstioObject):
    """Limits the requests to workloads, or over routes, by token buckets in each sidecar."""

    spec: LocalRateLimitSpec


def _target(obj: Object) -> str:
    spec = obj.get("spec") or {}
    routes = [
        f"{one.get('virtualService')}/{','.join(one.get('names') or ['*'])}"
        for one in spec.get("routes") or ()
    ]
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return ",".join(routes or (f"{key}={value}" for key, value in labels.items()))


def _limit(obj: Object) -> str:
    bucket = (obj.get("spec") or {}).get("tokenBucket") or {}
    return f"{bucket.get('tokensPerFill') or 1}/{bucket.get('fillInterval')}"


def _burst(obj: Object) -> int:
    return int(((obj.get("spec") or {}).get("tokenBucket") or {}).get("maxTokens") or 0)


KIND = Kind(
    group=GROUP,
    versions=("v1alpha1",),
    kind="LocalRateLimit",
    plural="localratelimits",
    short_names=("lrl",),
    categories=("glassmesh-io",),
    columns=(Column("Target", _target), Column("Limit", _limit), Column("Burst", _burst, "integer")),
    has_status=True,
    schema=schema(LocalRateLimit),
    validate=istio_validator(LocalRateLimit),
    merge_keys=merge_keys(META_LIST_KEYS),
    list_map_keys=META_LIST_KEYS,
)
