"""An Istio object: how its model becomes a `Kind`, and what of it is accepted with a warning.

Must not know any one kind. Invariant: a field that is accepted without an effect yet is a warning that names its path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import WithJsonSchema

from control.resources.istio_types import NotYet
from control.resources.kind import Column, FieldError, Kind, Object, Verdict
from control.resources.metadata import META_LIST_KEYS, TopLevel
from control.resources.model import Model, field_path, join_path, merge_keys, schema
from control.resources.validation import validator

VERSIONS = ("v1", "v1beta1", "v1alpha3")


class IstioObject(TopLevel):
    """Base of the Istio kinds; each adds `spec`."""

    status: Annotated[dict[str, Any] | None, WithJsonSchema({"type": "object"})] = None

    def problems(self) -> Iterator[FieldError]:
        """`.` in `exportTo` is the object's own namespace, so both are one."""
        export_to: list[str] = getattr(getattr(self, "spec", None), "exportTo", None) or []
        if "." in export_to and self.metadata.get("namespace") in export_to:
            yield FieldError("spec.exportTo", "duplicate entries in exportTo: . and current namespace")


@runtime_checkable
class PartlyActedOn(Protocol):
    """A model of which only some values have an effect."""

    def without_effect(self) -> Iterator[str]:
        """Names of its fields that have none as they are set; empty for the whole object."""
        ...


def models(value: object, path: tuple[int | str, ...] = ()) -> Iterator[tuple[tuple[int | str, ...], Model]]:
    """Every model inside a value, itself first, with its path."""
    if isinstance(value, Model):
        yield path, value
        for name in sorted(value.model_fields_set):
            yield from models(getattr(value, name), (*path, name))
    elif isinstance(value, list | dict):
        for key, item in enumerate(value) if isinstance(value, list) else value.items():
            yield from models(item, (*path, key))


def _without_effect(value: Model) -> Iterator[str]:
    """Names of the fields that are set and have no effect yet; empty for the whole."""
    if isinstance(value, PartlyActedOn):
        yield from value.without_effect()
    for name in sorted(value.model_fields_set):
        if any(isinstance(mark, NotYet) for mark in type(value).model_fields[name].metadata):
            yield name


def warnings_of(obj: IstioObject) -> Iterator[str]:
    """What is accepted with a warning: doubtful settings, and those without an effect yet."""
    idle: list[tuple[int | str, ...]] = []
    for path, value in models(obj):
        if any(path[: len(above)] == above for above in idle):
            continue  # told with what it is inside of
        for name in _without_effect(value):
            idle.append((*path, name) if name else path)
            yield f"{field_path(idle[-1])} is accepted but not acted on yet"
        for doubt in value.doubts():
            yield str(FieldError(join_path(field_path(path), doubt.path), doubt.message))


def istio_validator(model: type[IstioObject]) -> Callable[[Object], Verdict]:
    """A `Kind.validate`: every error of the model, and a warning for each field without an effect yet."""
    errors_of = validator(model)

    def validate(obj: Object) -> Verdict:
        verdict = errors_of(obj)
        if verdict.errors:
            return verdict
        return Verdict((), (*verdict.warnings, *warnings_of(model.model_validate(obj))))

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
