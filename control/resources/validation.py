"""A document held to its model: every error at once, each with its path, in the words of Kubernetes and Istio.

Decides how a pydantic error reads to a user of kubectl. Must not know any kind. Invariant: a wrong field hides neither another one
nor what is wrong between fields: pydantic looks at a model as a whole only where each field is right, so the rest is made again
from what has the right shape, and judged. Reference: k8s.io/apimachinery/pkg/util/validation/field/errors.go (wording).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from control.resources.kind import FieldError, Object, Verdict, unknown_field
from control.resources.model import (
    Inert,
    Model,
    Problems,
    field_path,
    join_path,
    nested,
    required,
    unsupported,
)

Path = tuple[int | str, ...]

# What JSON and YAML call Python's types.
_SHAPES: dict[type[Any], str] = {dict: "object", list: "list"}
_WANTED = {
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be a string",
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}


def validator(model: type[Model]) -> Callable[[Object], Verdict]:
    """A `Kind.validate`: errors of the model, and one warning that names the fields without effect."""

    def validate(obj: Object) -> Verdict:
        inert = sorted(_inert_paths(model, obj, ()))
        warnings = (f"no effect in Glassmesh: {', '.join(inert)}",) if inert else ()
        try:
            model.model_validate(obj)
        except ValidationError as exc:
            return Verdict(_all_errors(model, obj, exc), warnings)
        return Verdict((), warnings)

    return validate


def _all_errors(model: type[Model], obj: Object, refusal: ValidationError) -> tuple[FieldError, ...]:
    details = refusal.errors(include_url=False)
    errors = [error for detail in details for error in _translate(detail)]
    rest = _Rest({detail["loc"] for detail in details if detail["type"] != "value_error"})
    rest.value(model, obj, ())
    return tuple(sorted(dict.fromkeys([*errors, *rest.problems]), key=lambda error: _place(obj, error.path)))


def _place(node: Any, path: str) -> tuple[int, ...]:
    """Where a path is in its document; what is not there comes first."""
    places = []
    for part in re.findall(r"\[\d+\]|[^.\[]+", path):
        if part.startswith("["):
            index = int(part[1:-1])
            node = node[index] if isinstance(node, list) and index < len(node) else None
        else:
            index = list(node).index(part) if isinstance(node, dict) and part in node else -1
            node = node.get(part) if isinstance(node, dict) else None
        places.append(index)
    return tuple(places)


_LOST = object()  # stands for a value of the wrong shape


@dataclass
class _Rest:
    """What of a document has the right shape, made into models again; `problems` of each are collected.

    A model of which a field is lost is not judged: its fields are of a wrong shape, missing, or unknown (a misspelt one). One that
    lost a field it cannot be without is lost to what it is in."""

    broken: set[Path]
    problems: list[FieldError] = field(default_factory=list)

    def value(self, annotation: Any, value: Any, path: Path) -> Any:
        """The value as a field of this type holds it, or `_LOST`."""
        if path in self.broken:
            return _LOST
        if isinstance(annotation, type) and issubclass(annotation, Model) and isinstance(value, dict):
            return self._model(annotation, value, path)
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            return self.value(args[0], value, path)
        if origin is list and isinstance(value, list):
            items = [self.value(args[0], item, (*path, index)) for index, item in enumerate(value)]
            return _LOST if any(item is _LOST for item in items) else items
        if origin is dict and isinstance(value, dict):
            made = {key: self.value(args[1], item, (*path, key)) for key, item in value.items()}
            return _LOST if any(item is _LOST for item in made.values()) else made
        options = [option for option in args if option is not NoneType]
        if origin in (Union, UnionType) and len(options) == 1:
            return self.value(options[0], value, path)
        return _LOST if any(other[: len(path)] == path for other in self.broken) else value

    def _model(self, model: type[Model], value: dict[str, Any], path: Path) -> Any:
        values = {
            name: self.value(info.annotation, value[name], (*path, name))
            for name, info in model.model_fields.items()
            if name in value
        }
        whole = {name: made for name, made in values.items() if made is not _LOST}
        if any(info.is_required() and name not in whole for name, info in model.model_fields.items()):
            return _LOST
        made = model.model_construct(None, **whole)
        missing = any((*path, name) in self.broken for name in (*value, *model.model_fields))
        if len(whole) == len(values) and not missing:
            at = field_path(path)
            self.problems += [FieldError(join_path(at, e.path), e.message, e.reason) for e in made.problems()]
        return made


def _translate(error: ErrorDetails) -> list[FieldError]:
    path, kind, value = field_path(error["loc"]), error["type"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "extra_forbidden":
        return [unknown_field(path)]
    if kind == "missing":
        return [required(path)]
    if kind == "literal_error":
        allowed = tuple(
            word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")
        )
        return [unsupported(path, value, allowed)]
    if kind == "value_error":
        cause = context["error"]
        if isinstance(cause, Problems):
            return [FieldError(join_path(path, e.path), e.message, e.reason) for e in cause.errors]
        return [FieldError(path, str(cause))]
    shown = (
        value if isinstance(value, str | int | float | bool | None) else _SHAPES.get(type(value), "object")
    )
    why = _WANTED.get(kind) or error["msg"][0].lower() + error["msg"][1:]
    return [FieldError(path, f"Invalid value: {json.dumps(shown)}: {why}", "FieldValueTypeInvalid")]


def _inert_paths(model: type[Model], value: object, path: tuple[int | str, ...]) -> set[str]:
    found: set[str] = set()
    if not isinstance(value, dict):
        return found
    for name, info in model.model_fields.items():
        if name not in value or value[name] == info.default:
            continue
        if any(isinstance(mark, Inert) for mark in info.metadata):
            found.add(field_path((*path, name)))
            continue
        inner, in_list = nested(info.annotation)
        if inner is None:
            continue
        if in_list and isinstance(value[name], list):
            for index, item in enumerate(value[name]):
                found |= _inert_paths(inner, item, (*path, name, index))
        else:
            found |= _inert_paths(inner, value[name], (*path, name))
    return found
