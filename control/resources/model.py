"""From a pydantic model to a Kind's schema and defaults, and the words for what is wrong with a field.

Decides how a model becomes an OpenAPI schema. Must not know any kind. Field names are the JSON names; unknown fields are errors; a
field marked `INERT` is accepted with a warning. How a document is held to its model is in `validation`.
Reference: k8s.io/apimachinery/pkg/util/validation/field/errors.go (wording).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError, WithJsonSchema, model_validator
from pydantic.fields import FieldInfo

from control.resources.kind import FieldError, Object


class Inert:
    """Marks a field Glassmesh stores but does not act on."""


class MergeKey:
    """Marks a list merged item by item: by `key` in a strategic merge patch, by all `keys` in server-side apply."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys


INERT = Inert()


class Problems(ValueError):
    """Several errors found by one validator, with paths relative to what it validates."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = errors


class Model(BaseModel):
    """Base of every Kubernetes type: strict about types, forbids unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    def problems(self) -> Iterator[FieldError]:
        """What is wrong between its fields; the paths are relative to it.

        Every field has the right type here, its value may still be refused: a host may be no host, a number out of range."""
        return iter(())

    def doubts(self) -> Iterator[FieldError]:
        """What is accepted with a warning."""
        return iter(())

    @model_validator(mode="after")
    def _judged(self) -> Self:
        found = list(self.problems())
        if found:
            raise Problems(found)
        return self


def _int_or_string(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"Invalid value: {json.dumps(value)}: must be an integer or a string")
    return value


def _quantity(value: object) -> int | float | str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"Invalid value: {json.dumps(value)}: must be a quantity")
    return value


IntOrString = Annotated[
    int | str, PlainValidator(_int_or_string), WithJsonSchema({"x-kubernetes-int-or-string": True})
]
Quantity = Annotated[int | float | str, PlainValidator(_quantity), WithJsonSchema({"type": "string"})]
AnyObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]
StringMap = dict[str, str]


def field_path(parts: tuple[int | str, ...]) -> str:
    """`("spec", "ports", 0, "port")` as `spec.ports[0].port`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def join_path(parent: str, child: str) -> str:
    return f"{parent}.{child}" if parent and child and not child.startswith("[") else parent + child


def required(path: str) -> FieldError:
    return FieldError(path, "Required value", "FieldValueRequired")


def invalid(path: str, value: object, why: str) -> FieldError:
    return FieldError(path, f"Invalid value: {json.dumps(value)}: {why}", "FieldValueInvalid")


def duplicate(path: str, value: object) -> FieldError:
    return FieldError(path, f"Duplicate value: {json.dumps(value)}", "FieldValueDuplicate")


def unsupported(path: str, value: object, allowed: tuple[Any, ...]) -> FieldError:
    words = ", ".join(json.dumps(word) for word in sorted(allowed))
    return FieldError(
        path, f"Unsupported value: {json.dumps(value)}: supported values: {words}", "FieldValueNotSupported"
    )


def defaulter(model: type[Model]) -> Callable[[Object], Object]:
    """A `Kind.default`: the model's defaults. An object the model refuses is returned as it is."""

    def default(obj: Object) -> Object:
        try:
            return model.model_validate(obj).model_dump(exclude_none=True)
        except ValidationError:
            return obj

    return default


def nested(annotation: Any) -> tuple[type[Model] | None, bool]:
    """The model inside `X | None`, `list[X] | None`, and whether it sits in a list."""
    if get_origin(annotation) is Annotated:
        return nested(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation, False
    if get_origin(annotation) is list:
        return nested(get_args(annotation)[0])[0], True
    for option in get_args(annotation) if get_origin(annotation) is not dict else ():
        found, in_list = nested(option)
        if found is not None:
            return found, in_list
    return None, False


def list_keys(model: type[Model]) -> dict[str, tuple[str, ...]]:
    """Every list marked with `MergeKey`, as dotted path to its keys."""

    def walk(model: type[Model], path: str, seen: tuple[type[Model], ...]) -> None:
        for name, info in model.model_fields.items():
            here = f"{path}.{name}" if path else name
            for mark in info.metadata:
                if isinstance(mark, MergeKey):
                    found[here] = mark.keys
            inner, _ = nested(info.annotation)
            if inner is not None and inner not in seen:
                walk(inner, here, (*seen, inner))

    found: dict[str, tuple[str, ...]] = {}
    walk(model, "", (model,))
    return found


def merge_keys(keys: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """The single merge key of a strategic merge patch; sets of scalars have none and merge as sets (`""`)."""
    return {path: names[0] if names else "" for path, names in keys.items()}


def schema(model: type[Model]) -> dict[str, Any]:
    """The model as an OpenAPI v3 schema, nested types in place (no references)."""
    return _inline(model, ())


def _inline(model: type[Model], seen: tuple[type[Model], ...]) -> dict[str, Any]:
    text = (model.__doc__ or "").strip()
    result: dict[str, Any] = {"type": "object"}
    if text and model.__doc__ != Model.__doc__:
        result["description"] = text
    if model in seen:
        return result
    result["properties"] = {
        name: _field_schema(info, (*seen, model)) for name, info in model.model_fields.items()
    }
    needed = [name for name, info in model.model_fields.items() if info.is_required()]
    if needed:
        result["required"] = needed
    return result


def _field_schema(info: FieldInfo, seen: tuple[type[Model], ...]) -> dict[str, Any]:
    result = _type_schema(info.annotation, seen)
    for mark in info.metadata:
        if isinstance(mark, MergeKey):
            result["x-kubernetes-patch-strategy"] = "merge"
            result["x-kubernetes-list-type"] = "map" if mark.keys else "set"
            if mark.keys:
                result["x-kubernetes-patch-merge-key"] = mark.keys[0]
                result["x-kubernetes-list-map-keys"] = list(mark.keys)
        elif isinstance(mark, WithJsonSchema) and mark.json_schema is not None:
            result = dict(mark.json_schema)
    if info.description:
        result["description"] = info.description
    if info.default is not None and not info.is_required():
        result["default"] = {} if isinstance(info.default, Model) else info.default
    return result


_SCALARS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}


def _type_schema(annotation: Any, seen: tuple[type[Model], ...]) -> dict[str, Any]:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for mark in args[1:]:
            if isinstance(mark, WithJsonSchema) and mark.json_schema is not None:
                return dict(mark.json_schema)
        return _type_schema(args[0], seen)
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return _inline(annotation, seen)
    if origin is list:
        return {"type": "array", "items": _type_schema(args[0], seen)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type_schema(args[1], seen)}
    if origin is Literal:
        return {"type": "string", "enum": list(args)}
    options = [option for option in args if option is not type(None)]
    if options:
        return _type_schema(options[0], seen)
    return dict(_SCALARS.get(annotation, {}))


__all__ = [
    "INERT", "AnyObject", "Inert", "IntOrString", "MergeKey", "Model", "Problems", "Quantity", "StringMap",
    "defaulter", "duplicate", "field_path", "invalid", "join_path", "list_keys", "merge_keys", "nested", "required",
    "schema", "unsupported",
]  # fmt: skip
