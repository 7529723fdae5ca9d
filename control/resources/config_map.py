"""ConfigMap and Secret: files and environment for Pods."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from pydantic import model_validator

from control.resources.kind import Column, FieldError, Kind, Object, Verdict
from control.resources.metadata import META_LIST_KEYS, TopLevel
from control.resources.model import StringMap, defaulter, invalid, merge_keys, schema
from control.resources.validation import validator


def _keep_immutable(old: Object, new: Object) -> Verdict:
    if not old.get("immutable") or all(
        old.get(part) == new.get(part) for part in ("data", "binaryData", "immutable", "type")
    ):
        return Verdict()
    why = "Forbidden: field is immutable when `immutable` is set"
    return Verdict((FieldError("data", why, "FieldValueForbidden"),))


def _not_base64(field: str, data: StringMap | None) -> list[FieldError]:
    errors = []
    for key, value in (data or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            errors.append(invalid(f"{field}[{key}]", "<value>", "must be base64"))
    return errors


class ConfigMap(TopLevel):
    """A ConfigMap holds configuration for Pods."""

    data: StringMap | None = None
    binaryData: StringMap | None = None
    immutable: bool | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from _not_base64("binaryData", self.binaryData)


class Secret(TopLevel):
    """A Secret holds values that should not be shown; they are stored as they are, not encrypted."""

    data: StringMap | None = None
    stringData: StringMap | None = None
    type: str = "Opaque"
    immutable: bool | None = None

    @model_validator(mode="after")
    def _write_strings(self) -> Any:
        if self.stringData:
            encoded = {
                key: base64.b64encode(value.encode()).decode() for key, value in self.stringData.items()
            }
            self.data = {**(self.data or {}), **encoded}
            self.stringData = None
        return self

    def problems(self) -> Iterator[FieldError]:
        yield from _not_base64("data", self.data)


def _size(obj: Object) -> int:
    return len(obj.get("data") or {}) + len(obj.get("binaryData") or {})


KIND = Kind(
    group="",
    versions=("v1",),
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    columns=(Column("Data", _size, "integer"),),
    schema=schema(ConfigMap),
    default=defaulter(ConfigMap),
    validate=validator(ConfigMap),
    validate_update=_keep_immutable,
    merge_keys=merge_keys(META_LIST_KEYS),
    list_map_keys=META_LIST_KEYS,
)

SECRET = Kind(
    group="",
    versions=("v1",),
    kind="Secret",
    plural="secrets",
    columns=(Column("Type", lambda o: o["type"]), Column("Data", _size, "integer")),
    schema=schema(Secret),
    default=defaulter(Secret),
    validate=validator(Secret),
    validate_update=_keep_immutable,
    merge_keys=merge_keys(META_LIST_KEYS),
    list_map_keys=META_LIST_KEYS,
)
