"""Lists as Tables: what `kubectl get` prints, decided by the server.

Reference: meta.k8s.io/v1 Table; k8s.io/kubernetes/pkg/printers.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from control.resources.age import age
from control.resources.kind import Column, Kind, Object

_NAME = Column("Name", lambda obj: obj["metadata"]["name"], "name")
_AGE = Column("Age", lambda obj: obj["metadata"].get("creationTimestamp"), "date")


def columns(kind: Kind) -> tuple[Column, ...]:
    """The columns of a kind, with Name and Age where the kind leaves them to us."""
    names = {column.name for column in kind.columns}
    if "Name" in names:
        return kind.columns
    narrow = tuple(column for column in kind.columns if not column.wide)
    wide = tuple(column for column in kind.columns if column.wide)
    return (_NAME, *narrow, *(() if "Age" in names else (_AGE,)), *wide)


def definitions(kind: Kind) -> list[Object]:
    return [
        {
            "name": column.name,
            "type": "string" if column.type in ("date", "name") else column.type,
            "format": "name" if column.type == "name" else "",
            "description": "",
            "priority": int(column.wide),
        }
        for column in columns(kind)
    ]


def _cell(column: Column, obj: Object, now: datetime) -> Any:
    value = column.cell(obj)
    return age(value, now) if column.type == "date" else value


def partial(obj: Object) -> Object:
    """Only the metadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _row_object(obj: Object, include: str) -> Object | None:
    return {"None": None, "Object": obj}.get(include, partial(obj))


def table(
    kind: Kind,
    objects: Iterable[Object],
    list_meta: Object,
    now: datetime,
    *,
    include: str = "Metadata",
    with_columns: bool = True,
) -> Object:
    """A Table of objects; `include` is the request's includeObject: None, Metadata or Object."""
    rows = []
    for obj in objects:
        row: Object = {"cells": [_cell(column, obj, now) for column in columns(kind)]}
        if (shown := _row_object(obj, include)) is not None:
            row["object"] = shown
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_meta,
        "columnDefinitions": definitions(kind) if with_columns else None,
        "rows": rows,
    }
