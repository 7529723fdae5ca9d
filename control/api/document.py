"""A document on its way in: read as an object of its kind, and held to what its request may change.

Pure. Reference: k8s.io/apiserver/pkg/endpoints/handlers/{create,update,patch}.go, pkg/registry/rest/{create,update}.go.
"""

from __future__ import annotations

import re
from typing import Any

from control.api import errors
from control.api.request_info import RequestInfo
from control.resources.kind import FieldError, Object

# Of metadata, what only the server sets.
SERVER_SET = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")


_SURROGATE = re.compile("[\ud800-\udfff]")


def normalized(value: Any) -> Any:
    """Null means "not set" in every Kubernetes document, and a whole number is an integer however it is written.

    Half of a surrogate pair is no text; it is replaced, as Go does, so that everything stored can be written out again."""
    if isinstance(value, dict):
        return {normalized(key): normalized(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [normalized(item) for item in value]
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\ufffd", value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def decode(info: RequestInfo, body: Any) -> Object:
    """The document as an object of the stored version, consistent with the path. Raises ApiError 400."""
    if not isinstance(body, dict):
        raise errors.bad_request("the body of the request is not an object")
    obj: Object = normalized(body)
    kind = obj.setdefault("kind", info.kind.kind)
    version = obj.setdefault("apiVersion", info.api_version)
    served = [f"{info.kind.group}/{v}" if info.kind.group else v for v in info.kind.versions]
    if version not in served or kind != info.kind.kind:
        raise errors.bad_request(
            f"the API version in the data ({version}, Kind={kind}) does not match the expected API version "
            f"({info.api_version}, Kind={info.kind.kind})"
        )
    obj["apiVersion"] = info.kind.api_version
    meta = obj.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise errors.invalid(info.kind, "", [FieldError("metadata", "Invalid value: must be an object")])
    if info.namespace is not None and meta.setdefault("namespace", info.namespace) != info.namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if info.namespace is None:
        meta.pop("namespace", None)
    if info.name is not None and meta.setdefault("name", info.name) != info.name:
        raise errors.bad_request(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({info.name})"
        )
    return obj


def with_fixed_parts(info: RequestInfo, old: Object, new: Object) -> Object:
    """`new` with what this request may not change taken from `old`."""
    meta, old_meta = dict(new["metadata"]), old["metadata"]
    if meta.get("uid") and meta["uid"] != old_meta["uid"]:
        why = (
            f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {old_meta['uid']}"
        )
        raise errors.conflict(info.kind, info.name or "", why)
    if meta.get("resourceVersion") not in (None, "", old_meta["resourceVersion"]):
        raise errors.conflict(info.kind, info.name or "", errors.MODIFIED)
    for name in SERVER_SET:
        meta.pop(name, None)
        if name in old_meta:
            meta[name] = old_meta[name]
    meta["resourceVersion"] = old_meta["resourceVersion"]
    meta.setdefault("managedFields", old_meta.get("managedFields") or [])
    if info.subresource == "status":
        return {
            **old,
            "metadata": {**old_meta, "managedFields": meta["managedFields"]},
            "status": new.get("status", {}),
        }
    new = {**new, "metadata": meta}
    if info.kind.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    return new


def remove_field(obj: Object, path: str) -> None:
    """Remove the field at a path such as `spec.http[0].foo`. Changes `obj`."""
    node: Any = obj
    *above, last = path.replace("[", ".[").split(".")
    for part in above:
        node = node[int(part[1:-1])] if part.startswith("[") else node[part]
    node.pop(last, None)
