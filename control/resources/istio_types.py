"""Types the Istio kinds share, checked in Istio's words; and how one of them becomes a `Kind`.

Decides what is a valid duration, host, port, percentage, header name, regex. Must not know any one kind. Invariant: a field that
is accepted without an effect yet is marked `NOT_YET`, and its use is a warning that names its path.
Reference: istio.io/istio pkg/config/validation/validation.go, pkg/config/validation/agent/validation.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Annotated, Any, Protocol, runtime_checkable

import re2
from pydantic import AfterValidator, BaseModel, PlainValidator, WithJsonSchema, model_validator

from control.resources.kind import Column, FieldError, Kind, Object, Verdict
from control.resources.metadata import META_LIST_KEYS, TopLevel
from control.resources.model import Model, Problems, field_path, merge_keys, schema, validator

VERSIONS = ("v1", "v1beta1", "v1alpha3")
MESH_GATEWAY = "mesh"

_MAX_REGEX = 1024  # characters; istio.io/istio validateStringRegexp
_UNITS = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_DURATION = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_LABEL = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_HEADER = re.compile(r"[-_A-Za-z0-9!#$%&'*+.^`|~]+")


class _NotYet:
    """Marks a field that is checked and stored, and has no effect yet."""


NOT_YET = _NotYet()


def parse_duration(text: str) -> Decimal:
    """Seconds of a Go duration (`1m30s`, `250ms`, `0s`). Raises ValueError."""
    if text in ("0", "-0", "+0"):
        return Decimal(0)
    if not _DURATION.fullmatch(text):
        raise ValueError(f"invalid duration: time: invalid duration {json.dumps(text)}")
    total = sum((Decimal(n) * _UNITS[unit] for n, unit in _DURATION_PART.findall(text)), Decimal(0))
    return -total if text.startswith("-") else total


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


def _port(value: int) -> int:
    if not 1 <= value <= 65535:
        raise ValueError(f"port number {value} must be in the range 1..65535")
    return value


def _percent(value: float) -> float:
    if not 0 <= value <= 100:
        raise ValueError(f"percentage {value:g} is not in range 0..100")
    return value


def _not_negative(value: int) -> int:
    if value < 0:
        raise ValueError("must be non-negative")
    return value


def _uint32(value: int) -> int:
    if not 0 <= value < 2**32:
        raise ValueError(f"{value} is not in range 0..4294967295")
    return value


def _regex(value: str) -> str:
    if len(value) > _MAX_REGEX:
        raise ValueError(f"regex is too large, max length allowed is {_MAX_REGEX}")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)
    except re2.error as exc:
        why = exc.args[0].decode(errors="replace") if isinstance(exc.args[0], bytes) else str(exc)
        raise ValueError(
            f"{json.dumps(value)} invalid regex: {why}; Istio uses RE2 style regex-based match "
            "(https://github.com/google/re2/wiki/Syntax)"
        ) from None
    return value


def header_name_problem(name: str) -> str | None:
    if not name:
        return "header name cannot be empty"
    return None if _HEADER.fullmatch(name) else f"header name {name} is not a valid header name"


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    return float(value)


Duration = Annotated[str, AfterValidator(_duration)]  # at least 1 ms, in whole ms
AnyDuration = Annotated[str, AfterValidator(_any_duration)]
DisablingDuration = Annotated[str, AfterValidator(_disabling_duration)]  # 0s switches the feature off
PortNumber = Annotated[int, AfterValidator(_port)]
PercentValue = Annotated[
    float,
    PlainValidator(lambda v: _percent(_number(v))),
    WithJsonSchema({"type": "number", "format": "double"}),
]
NotNegative = Annotated[int, AfterValidator(_not_negative)]
UInt32 = Annotated[int, AfterValidator(_uint32)]
Regex = Annotated[str, AfterValidator(_regex)]


def fqdn_problem(name: str) -> str | None:
    """Why `name` is no DNS name; Istio's ValidateFQDN."""
    if not name:
        return "empty domain name not allowed"
    if len(name) > 255:
        return f"domain name {json.dumps(name)} too long (max 255)"
    for label in name.removesuffix(".").split("."):
        if len(label) > 63 or not _LABEL.fullmatch(label):
            return f"domain name {json.dumps(name)} invalid (label {json.dumps(label)} invalid)"
    return None


def wildcard_domain_problem(name: str) -> str | None:
    """As `fqdn_problem`, for a name whose first label may be `*`; Istio's ValidateWildcardDomain."""
    if name == "*":
        return None
    if "*" in name:
        first, dot, rest = name.partition(".")
        if first == "*" and dot and "*" not in rest:
            return fqdn_problem(rest)
        return f"wildcard domain {json.dumps(name)} is invalid: a wildcard may only be the whole first label"
    return fqdn_problem(name)


def host_matches(wide: str, narrow: str) -> bool:
    """Whether host `wide` (maybe `*` or `*.x`) covers every name `narrow` stands for."""
    if wide == "*" or wide == narrow:
        return True
    return wide.startswith("*") and narrow.removeprefix("*").endswith(wide[1:])


def duplicates(values: list[str]) -> list[str]:
    return sorted({value for value in values if values.count(value) > 1})


def _check_export_to(values: list[str]) -> list[str]:
    problems = [FieldError("", f"duplicate entries in exportTo: {value}") for value in duplicates(values)]
    for index, value in enumerate(values):
        if value not in ("*", ".", "~") and not _LABEL.fullmatch(value):
            problems.append(FieldError(f"[{index}]", f"invalid exportTo namespace: {json.dumps(value)}"))
    if len(values) > 1 and "*" in values:
        why = "cannot have both public (*) and non-public exportTo values for a resource"
        problems.append(FieldError("", why))
    if problems:
        raise Problems(problems)
    return values


ExportTo = Annotated[list[str], AfterValidator(_check_export_to)]


class PercentModel(Model):
    """A percentage, 0 to 100."""

    value: PercentValue | None = None


class StringMatch(Model):
    """Matches a text exactly, by prefix, or wholly by an RE2 expression; empty means present."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None

    @model_validator(mode="after")
    def _one(self) -> StringMatch:
        given = [name for name in ("exact", "prefix", "regex") if getattr(self, name) is not None]
        if len(given) > 1:
            return self.found(
                FieldError("", f"only one of exact, prefix, regex may be set, not {', '.join(given)}")
            )
        if self.prefix == "":
            return self.found(FieldError("prefix", "prefix may not be an empty string"))
        if self.regex is not None and self.regex != "*":
            try:
                _regex(self.regex)
            except ValueError as exc:
                return self.found(FieldError("regex", str(exc)))
        return self


class WorkloadSelector(Model):
    """Chooses workloads by their labels."""

    matchLabels: dict[str, str] | None = None

    @model_validator(mode="after")
    def _no_wildcards(self) -> WorkloadSelector:
        return self.found(*check_selector(self.matchLabels, "matchLabels"))


def check_selector(labels: dict[str, str] | None, path: str) -> Iterator[FieldError]:
    for key, value in (labels or {}).items():
        if not key:
            yield FieldError(path, f"empty key is not supported in selector: {json.dumps(f'{key}={value}')}")
        if "*" in key or "*" in value:
            yield FieldError(path, f"wildcard is not supported in selector: {json.dumps(f'{key}={value}')}")


class IstioObject(TopLevel):
    """Base of the Istio kinds; each adds `spec`."""

    status: Annotated[dict[str, Any] | None, WithJsonSchema({"type": "object"})] = None


@runtime_checkable
class PartlyActedOn(Protocol):
    """A model of which only some values have an effect."""

    def without_effect(self) -> Iterator[str]:
        """Names of its fields that have none as they are set; empty for the whole object."""
        ...


def not_acted_on(value: BaseModel, path: tuple[int | str, ...] = ()) -> Iterator[str]:
    """Paths of the fields that are set and have no effect yet."""
    fields = type(value).model_fields
    if isinstance(value, PartlyActedOn):
        yield from (field_path((*path, name) if name else path) for name in value.without_effect())
    for name in sorted(value.model_fields_set):
        if any(isinstance(mark, _NotYet) for mark in fields[name].metadata):
            yield field_path((*path, name))
        else:
            yield from _inside(getattr(value, name), (*path, name))


def _inside(value: object, path: tuple[int | str, ...]) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from not_acted_on(value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _inside(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _inside(item, (*path, key))


def istio_validator(model: type[IstioObject]) -> Callable[[Object], Verdict]:
    """A `Kind.validate`: every error of the model, and a warning for each field without an effect yet."""
    errors_of = validator(model)

    def validate(obj: Object) -> Verdict:
        verdict = errors_of(obj)
        if verdict.errors:
            return verdict
        paths = not_acted_on(model.model_validate(obj))
        extra = tuple(f"{path} is accepted but not acted on yet" for path in paths)
        return Verdict((), (*verdict.warnings, *extra))

    return validate


def istio_kind(
    model: type[IstioObject],
    plural: str,
    group: str,
    *,
    versions: tuple[str, ...] = VERSIONS,
    short_names: tuple[str, ...] = (),
    columns: tuple[Column, ...] = (),
) -> Kind:
    """The `Kind` of an Istio model. kubectl shows kinds of the category `istio-io` together, as with Istio's CRDs."""
    return Kind(
        group=group,
        versions=versions,
        kind=model.__name__,
        plural=plural,
        short_names=short_names,
        categories=("istio-io", group.replace(".", "-")),
        columns=columns,
        has_status=True,
        schema=schema(model),
        validate=istio_validator(model),
        merge_keys=merge_keys(META_LIST_KEYS),
        list_map_keys=META_LIST_KEYS,
    )
