"""OpenAPI documents: what `kubectl explain` reads, and by which kubectl learns that the server validates fields.

Pure: documents from kinds. v3 is one document per group and version; v2 is one for all, also in protobuf, the only
form kubectl before 1.27 reads, with no definitions: the server validates.
Reference: k8s.io/kube-openapi; kubectl's QueryParamVerifier.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from control.api.discovery import group_versions
from control.resources.kind import Kind, Object

_INFO = {"title": "Glassmesh", "version": "v1.32.0"}


def _path(kind: Kind, version: str) -> str:
    prefix = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
    return (
        f"{prefix}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{prefix}/{kind.plural}"
    )


def _definition(kind: Kind, version: str) -> str:
    return ".".join((*reversed((kind.group or "core").split(".")), version, kind.kind))


def _schema(kind: Kind, version: str) -> Object:
    schema: Object = dict(kind.schema) or {"type": "object"}
    properties = {
        "apiVersion": {"type": "string", "description": "The versioned schema of this object."},
        "kind": {"type": "string", "description": "The kind of this object."},
        "metadata": {"type": "object", "description": "Standard object metadata."},
        **schema.get("properties", {}),
    }
    gvk = [{"group": kind.group, "version": version, "kind": kind.kind}]
    return {**schema, "properties": properties, "x-kubernetes-group-version-kind": gvk}


def _operations(kind: Kind, version: str, query_schema: bool) -> tuple[Object, Object]:
    """Operations of the collection and of one object, with the query parameters kubectl looks for."""
    gvk = {"group": kind.group, "version": version, "kind": kind.kind}
    parameters = [
        {
            "name": name,
            "in": "query",
            **({"schema": {"type": "string"}} if query_schema else {"type": "string"}),
        }
        for name in ("dryRun", "fieldManager", "fieldValidation")
    ]

    def operation(action: str) -> Object:
        return {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk,
            "parameters": parameters,
            "responses": {"200": {"description": "OK"}},
        }

    collection = {"get": operation("list"), "post": operation("post")}
    single = {
        "get": operation("get"),
        "put": operation("put"),
        "patch": operation("patch"),
        "delete": operation("delete"),
    }
    return collection, single


def index(kinds: Iterable[Kind]) -> Object:
    """`/openapi/v3`."""
    paths = {}
    for group, versions in group_versions(kinds).items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}"}
    return {"paths": paths}


def v3(kinds: Iterable[Kind], group: str, version: str) -> Object:
    """`/openapi/v3/apis/GROUP/VERSION`."""
    paths, schemas = {}, {}
    for kind in kinds:
        if kind.group == group and version in kind.versions:
            collection, single = _operations(kind, version, query_schema=True)
            path = _path(kind, version)
            paths[path], paths[path + "/{name}"] = collection, single
            schemas[_definition(kind, version)] = _schema(kind, version)
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": schemas}}


def v2(kinds: Iterable[Kind]) -> Object:
    """`/openapi/v2` as JSON."""
    paths: dict[str, Any] = {}
    definitions = {}
    for kind in kinds:
        for version in kind.versions:
            collection, single = _operations(kind, version, query_schema=False)
            path = _path(kind, version)
            paths[path], paths[path + "/{name}"] = collection, single
            definitions[_definition(kind, version)] = _schema(kind, version)
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": definitions}


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field; every length here is below 128, one byte."""
    return bytes((number << 3 | 2, len(data))) + data


def v2_protobuf() -> bytes:
    """`/openapi/v2` as gnostic's `openapi.v2.Document`: swagger = 1, info = 2 (title = 1, version = 2), paths = 8."""
    info = _field(1, _INFO["title"].encode()) + _field(2, _INFO["version"].encode())
    return _field(1, b"2.0") + _field(2, info) + _field(8, b"")
