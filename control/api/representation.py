"""How an object is shown to a client: whole, as a Table, or its metadata alone, in the version of the request.

Reference: Kubernetes API concepts, "Receiving resources as Tables"; meta.k8s.io/v1.
"""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from control.api.request_info import RequestInfo
from control.api.table import partial, table
from control.resources.kind import Object


def _wanted(accept: str) -> str:
    """`Table`, `PartialObjectMetadata`, `PartialObjectMetadataList` or "" (whole), whichever is accepted first."""
    for offer in accept.split(","):
        media_type, *parameters = (part.strip() for part in offer.split(";"))
        if media_type not in ("application/json", "application/*", "*/*"):
            continue
        values = dict(parameter.partition("=")[::2] for parameter in parameters)
        if "as" not in values or values.get("g") == "meta.k8s.io":
            return values.get("as", "")
    return ""


class Representation:
    """The form one request asked for."""

    def __init__(self, request: web.Request, info: RequestInfo) -> None:
        self._info = info
        self._form = _wanted(request.headers.get("Accept", ""))
        self._include = request.query.get("includeObject", "Metadata")

    def one(self, obj: Object, *, with_columns: bool = True) -> Object:
        obj = self._versioned(obj)
        if self._form == "Table":
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            now = datetime.now(UTC)
            return table(self._info.kind, [obj], meta, now, include=self._include, with_columns=with_columns)
        return partial(obj) if self._form.startswith("Partial") else obj

    def many(self, objects: list[Object], meta: Object) -> Object:
        shown = [self._versioned(obj) for obj in objects]
        if self._form == "Table":
            return table(self._info.kind, shown, meta, datetime.now(UTC), include=self._include)
        if self._form.startswith("Partial"):
            items = [partial(obj) for obj in shown]
            kind, version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        else:
            items, kind, version = shown, f"{self._info.kind.kind}List", self._info.api_version
        return {"kind": kind, "apiVersion": version, "metadata": meta, "items": items}

    def bookmark(self, obj: Object) -> Object:
        """A bookmark has only metadata, so it has no row; a Table of it is empty but for its version."""
        if self._form == "Table":
            meta = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            return table(self._info.kind, [], meta, datetime.now(UTC), with_columns=False)
        return partial(obj) if self._form.startswith("Partial") else self._versioned(obj)

    def _versioned(self, obj: Object) -> Object:
        return {**obj, "apiVersion": self._info.api_version}
