"""The scale subresource: the number of replicas as an `autoscaling/v1` Scale.

Reference: k8s.io/api/autoscaling/v1/types.go.
"""

from __future__ import annotations

from typing import Any

from control.api import errors
from control.api.patch import json_patch, merge_patch
from control.api.request_info import RequestInfo
from control.api.write import JSON_PATCH, MERGE_PATCH, WriteOptions, Writer
from control.resources.kind import Object
from control.store.interface import NotFound
from control.store.sqlite import SqliteStore


def to_scale(obj: Object) -> Object:
    meta, spec = obj["metadata"], obj["spec"]
    labels = spec["selector"].get("matchLabels") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in kept},
        "spec": {"replicas": spec["replicas"]},
        "status": {
            "replicas": obj.get("status", {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


async def from_scale(
    writer: Writer,
    store: SqliteStore,
    info: RequestInfo,
    patch_type: str | None,
    body: Any,
    options: WriteOptions,
) -> Object:
    """Replace (`patch_type` None) or patch the Scale of an object; the Scale after it."""
    whole = RequestInfo(info.kind, info.version, info.namespace, info.name, None)
    try:
        scale = to_scale(await store.get(info.kind, info.namespace, info.name or ""))
    except NotFound:
        raise errors.not_found(info.kind, info.name or "") from None
    if patch_type == JSON_PATCH:
        body = json_patch(scale, body)
    elif patch_type is not None:
        body = merge_patch(scale, body)
    replicas = (body.get("spec") or {}).get("replicas", 0)
    change: Object = {"spec": {"replicas": replicas}}
    sent = (body.get("metadata") or {}).get("resourceVersion")
    if sent and patch_type is None:
        change["metadata"] = {"resourceVersion": sent}
    return to_scale(await writer.patch(whole, MERGE_PATCH, change, options))
