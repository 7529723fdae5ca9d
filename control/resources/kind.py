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


UNKNOWN_FIELD = "FieldValueUnknown"


def unknown_field(path: str) -> FieldError:
    """A field the schema does not have, in the words of Kubernetes' strict decoder."""
    return FieldError(path, f'unknown field "{path}"', UNKNOWN_FIELD)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of validation: every error at once, and warnings for the client's `Warning:` header."""

    errors: tuple[FieldError, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`; `cell` maps an object to what is printed. `wide` columns need `-o wide`.

    The API server adds Name before these and Age after the last one that is not wide, unless the kind names a column
    `Name` itself. The cell of a column of type `date` is an RFC 3339 time, printed as its age.
    """

    name: str
    cell: Callable[[Object], Any]
    type: str = "string"
    wide: bool = False


def accept(_: Object) -> Verdict:
    return Verdict()


def unchanged(obj: Object) -> Object:
    return obj


def may_change(_old: Object, _new: Object) -> Verdict:
    return Verdict()


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
    subresources: tuple[str, ...] = ()  # besides status: scale, log, token
    # The OpenAPI v3 schema of the whole object; kubectl explain and apply read it.
    schema: Mapping[str, Any] = field(default_factory=dict)
    # Fills defaults before validation, as the Kubernetes API server does; returns a new object.
    default: Callable[[Object], Object] = unchanged
    validate: Callable[[Object], Verdict] = accept
    # Says what of the change from an old object to a valid new one is forbidden (immutable fields).
    validate_update: Callable[[Object, Object], Verdict] = may_change
    # Lists merged by key under a strategic merge patch: dotted path (`spec.ports`) to merge key (`port`).
    merge_keys: Mapping[str, str] = field(default_factory=dict)
    # Lists whose items server-side apply owns one by one: dotted path to the keys that identify an item;
    # no keys for a set of scalars. Every other list is atomic.
    list_map_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.versions[0]}" if self.group else self.versions[0]

    @property
    def resource(self) -> str:
        """The name that identifies a kind everywhere: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        return self.kind.lower()

    def __repr__(self) -> str:
        return f"<Kind {self.resource}>"
