"""Node: the machine Pods run on. There is one; the node process writes it."""

from __future__ import annotations

from pydantic import Field

from control.resources.kind import Column, Kind, Object
from control.resources.metadata import META_LIST_KEYS, TopLevel
from control.resources.model import AnyObject, defaulter, merge_keys, schema
from control.resources.validation import validator


class Node(TopLevel):
    """A Node is a machine Pods run on."""

    spec: AnyObject = Field(default={})
    status: AnyObject = Field(default={})


def _ready(node: Object) -> str:
    conditions = {c.get("type"): c.get("status") for c in node.get("status", {}).get("conditions") or []}
    state = {"True": "Ready", "False": "NotReady"}.get(str(conditions.get("Ready")), "Unknown")
    return f"{state},SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else state


def _roles(node: Object) -> str:
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    return ",".join(sorted(key[len(prefix) :] for key in labels if key.startswith(prefix))) or "<none>"


def _info(node: Object, field: str) -> str:
    return str(node.get("status", {}).get("nodeInfo", {}).get(field) or "<unknown>")


def _internal_ip(node: Object) -> str:
    addresses = node.get("status", {}).get("addresses") or []
    return next((a["address"] for a in addresses if a.get("type") == "InternalIP"), "<none>")


_KEYS = META_LIST_KEYS | {"status.conditions": ("type",), "status.addresses": ("type",)}

KIND = Kind(
    group="",
    versions=("v1",),
    kind="Node",
    plural="nodes",
    namespaced=False,
    short_names=("no",),
    has_status=True,
    columns=(
        Column("Status", _ready),
        Column("Roles", _roles),
        Column("Age", lambda o: o["metadata"].get("creationTimestamp"), "date"),
        Column("Version", lambda o: _info(o, "kubeletVersion")),
        Column("Internal-IP", _internal_ip, wide=True),
        Column("External-IP", lambda _: "<none>", wide=True),
        Column("OS-Image", lambda o: _info(o, "osImage"), wide=True),
        Column("Kernel-Version", lambda o: _info(o, "kernelVersion"), wide=True),
        Column("Container-Runtime", lambda o: _info(o, "containerRuntimeVersion"), wide=True),
    ),
    schema=schema(Node),
    default=defaulter(Node),
    validate=validator(Node),
    merge_keys=merge_keys(_KEYS),
    list_map_keys=_KEYS,
)
