"""How an endpoint is picked: the `loadBalancer` of a traffic policy.

Reference: istio.io/api networking/v1alpha3/destination_rule.proto (LoadBalancerSettings); validation as istio's
validateLoadBalancer, validateLocalityLbSetting, validateLocalities.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import create_model

from control.resources.http_headers import header_name_problem, line_problem
from control.resources.istio_types import (
    AnyDuration,
    DisablingDuration,
    Duration,
    Number,
    UInt32,
    UInt64,
)
from control.resources.kind import FieldError
from control.resources.model import Model
from control.resources.names import label_value, qualified_name

_MAX_RING = 8 * 1024 * 1024  # envoy's ring_hash minimum_ring_size
_MAX_TABLE = 5000011  # envoy's maglev table_size
# From this many entries on Glassmesh's sidecar is busy for a noticeable time: measured 3 µs each in a ring, less in a table.
_LARGE_TABLE = 100_000
_SECONDS_PER_ENTRY = 3e-6
_TOPOLOGY = (
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
)


class CookieAttribute(Model):
    """An attribute of the cookie that is set, as `SameSite`."""

    name: str
    value: str | None = None

    def problems(self) -> Iterator[FieldError]:
        if not self.name:
            yield FieldError("name", "name required for HttpCookie attribute")
        for field in ("name", "value"):
            if problem := line_problem(getattr(self, field)):
                yield FieldError(field, problem)


class HTTPCookie(Model):
    """A cookie whose value is hashed."""

    name: str
    path: str | None = None
    ttl: AnyDuration | None = None
    attributes: list[CookieAttribute] | None = None

    def problems(self) -> Iterator[FieldError]:
        if not self.name:
            yield FieldError("name", "name required for HttpCookie")
        for field in ("name", "path"):
            if problem := line_problem(getattr(self, field)):
                yield FieldError(field, problem)


class RingHash(Model):
    """Ring hash (ketama)."""

    minimumRingSize: UInt64 | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from _ring_problems(self.minimumRingSize)

    def doubts(self) -> Iterator[FieldError]:
        yield from _size_doubts("minimumRingSize", self.minimumRingSize)


def _ring_problems(size: int | None) -> Iterator[FieldError]:
    if size is not None and size > _MAX_RING:
        yield FieldError("minimumRingSize", f"minimumRingSize must be at most {_MAX_RING}")


def _size_doubts(field: str, size: int | None) -> Iterator[FieldError]:
    if size is not None and size >= _LARGE_TABLE:
        why = (
            f"Glassmesh's sidecar takes about {size * _SECONDS_PER_ENTRY:.1f}s of CPU time for {size} entries whenever the endpoints"
            " change, and looks keys up in the entries it had until then"
        )
        yield FieldError(field, why)


class MagLev(Model):
    """Maglev; the table size is prime."""

    tableSize: UInt64 | None = None

    def problems(self) -> Iterator[FieldError]:
        size = self.tableSize
        if size == 0:
            yield FieldError("tableSize", "tableSize must be set for maglev")
        elif size is not None and size >= _MAX_TABLE:
            yield FieldError("tableSize", f"tableSize must be less than {_MAX_TABLE} for maglev")
        elif size is not None and not _is_prime(size):
            yield FieldError("tableSize", "tableSize must be a prime number for maglev")

    def doubts(self) -> Iterator[FieldError]:
        yield from _size_doubts("tableSize", self.tableSize)


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


class ConsistentHash(Model):
    """Sends requests with the same key to the same endpoint."""

    httpHeaderName: str | None = None
    httpCookie: HTTPCookie | None = None
    useSourceIp: bool | None = None
    httpQueryParameterName: str | None = None
    ringHash: RingHash | None = None
    maglev: MagLev | None = None
    minimumRingSize: UInt64 | None = None

    def problems(self) -> Iterator[FieldError]:
        keys = ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")
        given = [key for key in keys if getattr(self, key) is not None]
        if len(given) > 1:
            yield FieldError("", f"only one hash key may be set, not {', '.join(given)}")
        if self.ringHash is not None and self.maglev is not None:
            yield FieldError("", "only one of ringHash and maglev may be set")
        name = self.httpHeaderName  # a pseudo header too
        problem = header_name_problem(name.removeprefix(":")) if name is not None else None
        if problem:
            yield FieldError("httpHeaderName", problem)
        if self.httpQueryParameterName == "":
            yield FieldError("httpQueryParameterName", "query parameter name cannot be empty")
        yield from _ring_problems(self.minimumRingSize)

    def doubts(self) -> Iterator[FieldError]:
        if self.minimumRingSize:
            why = "consistent hash minimumRingSize is deprecated, use ConsistentHashLB's RingHash configuration instead"
            yield FieldError("minimumRingSize", why)
        yield from _size_doubts("minimumRingSize", self.minimumRingSize)


# `from` is no Python name, so these two are made rather than written.
LocalityDistribute: type[Model] = create_model(
    "LocalityDistribute",
    __base__=Model,
    __doc__="Where traffic from a locality goes, in percent.",
    **{"from": (str, ...), "to": (dict[str, UInt32] | None, None)},  # type: ignore[call-overload]
)
LocalityFailover: type[Model] = create_model(
    "LocalityFailover",
    __base__=Model,
    __doc__="The region that stands in for another.",
    **{"from": (str, ...), "to": (str, ...)},  # type: ignore[call-overload]
)


class LocalityLoadBalancerSetting(Model):
    """Preferring what is near."""

    distribute: list[LocalityDistribute] | None = None  # type: ignore[valid-type]
    failover: list[LocalityFailover] | None = None  # type: ignore[valid-type]
    failoverPriority: list[str] | None = None
    enabled: bool | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.distribute and self.failover:
            yield FieldError("", "can not simultaneously specify 'distribute' and 'failover'")
        yield from self._distribute_problems()
        for index, failover in enumerate(self.failover or []):
            yield from _failover_problems(f"failover[{index}]", failover)
        for index, label in enumerate(self.failoverPriority or []):
            key, _, value = label.partition("=")
            if qualified_name(key) or label_value(value):
                yield FieldError(
                    f"failoverPriority[{index}]",
                    f"{json.dumps(label)} is not a label key, or a label as key=value",
                )
            elif self.failover and key in _TOPOLOGY:
                yield FieldError(
                    f"failoverPriority[{index}]",
                    f"can not simultaneously set 'failover' and topology label '{key}' in 'failover_priority'",
                )

    def _distribute_problems(self) -> Iterator[FieldError]:
        sources: list[tuple[str, str]] = []
        for index, entry in enumerate(self.distribute or []):
            here, to = f"distribute[{index}]", _targets(entry)
            sources.append((f"{here}.from", _source(entry)))
            if any(not 1 <= weight <= 100 for weight in to.values()):
                yield FieldError(f"{here}.to", "locality weight must be in range [1, 100]")
            elif sum(to.values()) != 100:
                yield FieldError(f"{here}.to", f"total locality weight {sum(to.values())} != 100")
            yield from locality_problems([(f"{here}.to", locality) for locality in to])
        yield from locality_problems(sources)


def _source(entry: Any) -> str:
    return str(getattr(entry, "from"))


def _targets(entry: Any) -> dict[str, int]:
    return entry.to or {}


def _failover_problems(path: str, failover: Any) -> Iterator[FieldError]:
    source, target = _source(failover), str(failover.to)
    if source == target:
        yield FieldError(path, "locality lb failover settings must specify different regions")
    if "/" in source or "/" in target:
        yield FieldError(path, "locality lb failover only specify region")
    if "*" in source or "*" in target:
        yield FieldError(path, "locality lb failover region should not contain '*' wildcard")


def locality_problems(localities: list[tuple[str, str]]) -> Iterator[FieldError]:
    """Of localities that are told apart: `(path, region[/zone[/subzone]])`, the last part maybe `*`."""
    earlier: list[list[str]] = []
    for path, locality in localities:
        parts = locality.split("/", 2)
        wildcards = locality.count("*")
        if wildcards > 1 or (wildcards and not locality.endswith("*")):
            why = f"locality {locality} wildcard '*' number can not exceed 1 and must be in the end"
            yield FieldError(path, why)
        elif not all(parts):
            yield FieldError(path, f"locality {locality} must not contain empty region/zone/subzone info")
        elif any(_overlap(parts, other) for other in earlier):
            yield FieldError(path, f"locality {locality} overlap with previous specified ones")
        earlier.append(parts)


def _overlap(one: list[str], other: list[str]) -> bool:
    """Whether a place can be in both; what is left out, and `*`, is any."""
    return all(a == b or "*" in (a, b) for a, b in zip(one, other, strict=False))


class WarmupConfiguration(Model):
    """How new endpoints ramp up."""

    duration: Duration
    minimumPercent: Number | None = None
    aggression: Number | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.minimumPercent is not None and not 0 <= self.minimumPercent <= 100:
            yield FieldError("minimumPercent", "minimumPercent value should be between 0 and 100")
        if self.aggression is not None and self.aggression < 1:
            yield FieldError("aggression", "aggression should be greater than or equal to 1")


class LoadBalancer(Model):
    """How an endpoint is picked."""

    simple: (
        Literal["UNSPECIFIED", "ROUND_ROBIN", "LEAST_CONN", "LEAST_REQUEST", "RANDOM", "PASSTHROUGH"] | None
    ) = None
    consistentHash: ConsistentHash | None = None
    localityLbSetting: LocalityLoadBalancerSetting | None = None
    warmupDurationSecs: DisablingDuration | None = None
    warmup: WarmupConfiguration | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.simple is not None and self.consistentHash is not None:
            yield FieldError("", "only one of simple and consistentHash may be set")

    def doubts(self) -> Iterator[FieldError]:
        if self.warmupDurationSecs:
            why = "warmupDurationSecs is deprecated, use warmup instead"
            yield FieldError("warmupDurationSecs", why)
