"""What the API server must know of a kind: its names, its schema, its validation, its table columns.

Each kind is one file beside this one, exporting one `KIND`; `control.resources.KINDS` is the explicit list.
An object is the Kubernetes JSON object itself: metadata, spec and status as plain dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FieldError:
    """One reason to refuse an object: where (`spec.http[0].route[1].weight`) and what, in Istio's wording."""

    path: str
    message: str
    reason: str = "FieldValueInvalid"  # a Kubernetes StatusCause reason

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of validation: every error at once, and warnings for the client's `Warning:` header."""

    errors: tuple[FieldError, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; `cell` maps an object to what is printed. `wide` columns need `-o wide`."""

    name: str
    cell: Callable[[Object], Any]
    type: str = "string"
    wide: bool = False


def accept(_: Object) -> Verdict:
    return Verdict()


def unchanged(obj: Object) -> Object:
    return obj


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind served by the API. `versions` are all served; the first is what is stored and preferred."""

    group: str  # "" for the core group
    versions: tuple[str, ...]
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    has_status: bool = False
    # The OpenAPI v3 schema of the whole object; kubectl explain and apply read it.
    schema: Mapping[str, Any] = field(default_factory=dict)
    # Fills defaults before validation, as the Kubernetes API server does; returns a new object.
    default: Callable[[Object], Object] = unchanged
    validate: Callable[[Object], Verdict] = accept
    # Lists merged by key under a strategic merge patch: dotted path (`spec.ports`) to merge key (`port`).
    merge_keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]

    def __repr__(self) -> str:
        return f"<Kind {self.plural}.{self.group}>" if self.group else f"<Kind {self.plural}>"
