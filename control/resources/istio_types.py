"""Types the Istio kinds share, checked in Istio's words.

Decides what is a valid duration, host, port, percentage, set of labels. Must not know any one kind. A field that is accepted without
an effect yet is marked `NOT_YET`.
Reference: istio.io/istio pkg/config/validation/validation.go, pkg/config/validation/agent/validation.go.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from control.resources.kind import FieldError
from control.resources.model import Model, Problems
from control.resources.names import label_value, qualified_name
from control.resources.regex import regex_problem

MESH_GATEWAY = "mesh"

_UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_LONGEST = Decimal(2**63 - 1).scaleb(-9)  # seconds; Go counts nanoseconds in 64 bits
_DURATION = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_LABEL = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")


class NotYet:
    """Marks a field that is checked and stored, and has no effect yet."""


NOT_YET = NotYet()


def parse_duration(text: str) -> Decimal:
    """Seconds of a Go duration (`1m30s`, `250ms`, `0s`). Raises ValueError."""
    if text in ("0", "-0", "+0"):
        return Decimal(0)
    if not _DURATION.fullmatch(text):
        raise ValueError(f"invalid duration: time: invalid duration {json.dumps(text)}")
    total = sum((Decimal(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(text)), Decimal(0))
    if total > _LONGEST:
        raise ValueError(f"invalid duration: time: invalid duration {json.dumps(text)}")
    return -total if text.startswith("-") else total


def _at_most(text: str, longest: Decimal) -> bool:
    """What is no duration is told elsewhere."""
    try:
        return parse_duration(text) <= longest
    except ValueError:
        return True


def is_short(text: str) -> bool:
    """Whether ten times a duration is one too."""
    return _at_most(text, _LONGEST / 10)


def fits_seconds(text: str) -> bool:
    """Whether a 32-bit number of seconds holds a duration."""
    return _at_most(text, Decimal(2**32 - 1))


def suits_keepalive(text: str) -> bool:
    """Whether Linux takes a duration for the probes of an idle connection (tcp(7)): 32767 seconds."""
    return _at_most(text, Decimal(32767))


def _duration(text: str) -> str:
    seconds = parse_duration(text)
    if seconds < Decimal("0.001"):
        raise ValueError("duration must be greater than 1ms")
    if seconds % Decimal("0.001"):
        raise ValueError("only durations to ms precision are supported")
    return text


def _any_duration(text: str) -> str:
    if parse_duration(text) < 0:
        raise ValueError("duration must not be negative")
    return text


def _disabling_duration(text: str) -> str:
    return text if parse_duration(text) == 0 else _duration(text)


def _whole_seconds(text: str) -> str:
    if parse_duration(_duration(text)) % 1:
        raise ValueError("max_age duration is accurate only to seconds precision")
    return text


def _port(value: int) -> int:
    if not 1 <= value <= 65535:
        raise ValueError(f"port number {value} must be in the range 1..65535")
    return value


def _within(low: int, high: int) -> AfterValidator:
    def check(value: int) -> int:
        if not low <= value <= high:
            raise ValueError(f"{value} is not in range {low}..{high}")
        return value

    return AfterValidator(check)


def _percent(value: float) -> float:
    if not 0 <= value <= 100:
        raise ValueError(f"percentage {value:g} is not in range 0..100")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a number")
    return value


_NUMBER_SCHEMA = WithJsonSchema({"type": "number", "format": "double"})
Duration = Annotated[str, AfterValidator(_duration)]  # at least 1 ms, in whole ms
AnyDuration = Annotated[str, AfterValidator(_any_duration)]
DisablingDuration = Annotated[str, AfterValidator(_disabling_duration)]  # 0s switches the feature off
Seconds = Annotated[str, AfterValidator(_whole_seconds)]
PortNumber = Annotated[int, AfterValidator(_port)]
Number = Annotated[float, AfterValidator(_finite), _NUMBER_SCHEMA]
PercentValue = Annotated[float, AfterValidator(_percent), _NUMBER_SCHEMA]
Percent = Annotated[int, AfterValidator(_percent)]
Int32 = Annotated[int, _within(-(2**31), 2**31 - 1)]  # how far below zero is for the field to say
UInt32 = Annotated[int, _within(0, 2**32 - 1)]
UInt64 = Annotated[int, _within(0, 2**64 - 1)]


def _too_long_or_empty(name: str) -> str | None:
    if not name:
        return "empty domain name not allowed"
    return f"domain name {json.dumps(name)} too long (max 255)" if len(name) > 255 else None


def fqdn_problem(name: str) -> str | None:
    """Why `name` is no DNS name; Istio's ValidateFQDN."""
    return _too_long_or_empty(name) or _labels_problem(name)


def _labels_problem(name: str, whole: str = "") -> str | None:
    shown, labels = json.dumps(whole or name), name.removesuffix(".").split(".")
    for label in labels:
        if not is_label(label):
            return f"domain name {shown} invalid (label {json.dumps(label)} invalid)"
    if labels[-1].isdigit():
        return (
            f"domain name {shown} invalid (top level domain {json.dumps(labels[-1])} cannot be all-numeric)"
        )
    return None


def wildcard_domain_problem(name: str) -> str | None:
    """As `fqdn_problem`, for a name whose first label may be or begin with `*`; Istio's ValidateWildcardDomain."""
    first, dot, rest = name.partition(".")
    if not first.startswith("*"):
        return fqdn_problem(name)
    bare = first.removeprefix("*").removeprefix("-")
    if (first != "*" and not is_label(bare)) or len(first) > 63:
        return f"domain name {json.dumps(name)} invalid (label {json.dumps(first)} invalid)"
    return _too_long_or_empty(name) or (_labels_problem(rest, name) if dot else None)


def is_label(text: str) -> bool:
    return len(text) <= 63 and bool(_LABEL.fullmatch(text))


def is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def namespace_problem(name: str | None) -> str | None:
    return None if not name or is_label(name) else f"invalid value for namespace: {json.dumps(name)}"


def gateway_problem(name: str) -> str | None:
    """Why `name` names no gateway: `mesh`, `name` or `namespace/name`."""
    namespace, slash, short = name.partition("/")
    if not slash:
        return fqdn_problem(name)
    if not namespace or not short:
        return "config namespace and gateway name cannot be empty"
    return namespace_problem(namespace) or (
        None if is_label(short) else f"invalid value for gateway name: {json.dumps(short)}"
    )


def gateway_problems(names: list[str] | None, path: str) -> Iterator[FieldError]:
    for index, name in enumerate(names or []):
        problem = gateway_problem(name)
        if problem:
            yield FieldError(f"{path}[{index}]", problem)


def label_problems(labels: dict[str, str] | None, path: str) -> Iterator[FieldError]:
    for key, value in (labels or {}).items():
        if qualified_name(key):
            yield FieldError(path, f"invalid tag key: {json.dumps(key)}")
        if label_value(value):
            yield FieldError(path, f"invalid tag value: {json.dumps(value)}")


def host_matches(wide: str, narrow: str) -> bool:
    """Whether host `wide` (maybe `*` or `*.x`) covers every name `narrow` stands for."""
    if wide == "*" or wide == narrow:
        return True
    return wide.startswith("*") and narrow.removeprefix("*").endswith(wide[1:])


def duplicates(values: list[str]) -> list[str]:
    return sorted({value for value in values if values.count(value) > 1})


def _check_export_to(values: list[str]) -> list[str]:
    problems = [
        FieldError("", f"duplicate entries in exportTo for entry {value}") for value in duplicates(values)
    ]
    for index, value in enumerate(values):
        if value == "~":
            why = "exportTo ~ (none) is not allowed for Istio configuration objects"
            problems.append(FieldError(f"[{index}]", why))
        elif value not in ("*", ".") and not is_label(value):
            why = "only .,*, or a valid DNS 1123 label is allowed as exportTo entry"
            problems.append(FieldError(f"[{index}]", why))
    if len(values) > 1 and "*" in values:
        why = "cannot have both public (*) and non-public (., namespace) exportTo values for a resource"
        problems.append(FieldError("", why))
    if problems:
        raise Problems(problems)
    return values


ExportTo = Annotated[list[str], AfterValidator(_check_export_to)]


class PercentModel(Model):
    """A share in percent."""

    # The field says which percentages it takes.
    value: Number | None = None


class StringMatch(Model):
    """Matches a text exactly, by prefix, or wholly by an RE2 expression; empty means present."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None

    def problems(self) -> Iterator[FieldError]:
        given = [name for name in ("exact", "prefix", "regex") if getattr(self, name) is not None]
        if len(given) > 1:
            yield FieldError("", f"only one of exact, prefix, regex may be set, not {', '.join(given)}")

    def refused(self, where: str, path: str, *, star: bool = True) -> Iterator[FieldError]:
        """What is wrong with it as the field that Istio calls `where`. With `star`, a regex of `*` means present."""
        if self.prefix == "":
            why = f"{json.dumps(where)}: prefix string match should not be empty"
            yield FieldError(f"{path}.prefix", why)
        regex = None if star and self.regex == "*" else self.regex
        problem = None if regex is None else regex_problem(regex, where)
        if problem:
            yield FieldError(f"{path}.regex", problem)


class WorkloadSelector(Model):
    """Chooses workloads by their labels."""

    matchLabels: dict[str, str] | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from check_selector(self.matchLabels, "matchLabels")


def check_selector(labels: dict[str, str] | None, path: str) -> Iterator[FieldError]:
    for key, value in (labels or {}).items():
        if not key:
            yield FieldError(path, f"empty key is not supported in selector: {json.dumps(f'{key}={value}')}")
        if "*" in key or "*" in value:
            yield FieldError(path, f"wildcard is not supported in selector: {json.dumps(f'{key}={value}')}")
