"""Which manager owns which field: sets of field paths, and the `managedFields` they are written in.

A path is a tuple of FieldsV1 elements: `f:NAME`, `k:{"name":"x"}` for an item of a keyed list, `v:VALUE` for one of a
set, and a last `.` for the existence of an item. Pure.
Reference: sigs.k8s.io/structured-merge-diff and Kubernetes' "Server-Side Apply".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from control.resources.kind import Object

Path = tuple[str, ...]
ListKeys = Mapping[str, tuple[str, ...]]

# Nobody owns what identifies an object or what only the server writes.
_UNOWNED = {("f:apiVersion",), ("f:kind",)} | {
    ("f:metadata", f"f:{name}")
    for name in (
        "name", "namespace", "generateName", "uid", "resourceVersion", "creationTimestamp", "generation", "selfLink",
        "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields",
    )
}  # fmt: skip
# Keys of list items that clients leave out; their defaults are part of the item's identity.
_KEY_DEFAULTS = {"protocol": "TCP"}


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def item_element(item: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The element that stands for one item of a keyed list."""
    found = {key: item.get(key, _KEY_DEFAULTS.get(key)) for key in keys}
    return "k:" + _compact({key: value for key, value in found.items() if value is not None})


def leaves(obj: Object, lists: ListKeys) -> dict[Path, Any]:
    """Every field of an object that can be owned, with its value (None for the existence of a list item)."""
    found: dict[Path, Any] = {}
    _collect(obj, lists, "", (), found)
    return found


def _collect(value: Any, lists: ListKeys, where: str, path: Path, found: dict[Path, Any]) -> None:
    if path in _UNOWNED:
        return
    if isinstance(value, dict) and value:
        for name, child in value.items():
            _collect(child, lists, f"{where}.{name}" if where else name, (*path, f"f:{name}"), found)
    elif isinstance(value, list) and where in lists:
        keys = lists[where]
        for item in value:
            if not keys:
                found[(*path, "v:" + _compact(item))] = item
            elif isinstance(item, dict):
                element = item_element(item, keys)
                found[(*path, element, ".")] = None
                _collect(item, lists, where, (*path, element), found)
    elif path:
        found[path] = value


def to_fields_v1(paths: set[Path]) -> Object:
    tree: Object = {}
    for path in sorted(paths):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
    return tree


def from_fields_v1(tree: Object, path: Path = ()) -> set[Path]:
    if not tree:
        return {path} if path else set()
    return set().union(*(from_fields_v1(child, (*path, element)) for element, child in tree.items()))


def show(path: Path) -> str:
    """A path as conflicts print it: `.spec.containers[name="x"].image`."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            text += "[" + ",".join(f"{k}={json.dumps(v)}" for k, v in json.loads(rest).items()) + "]"
        elif kind == "v":
            text += f"[={rest}]"
    return text


@dataclass(frozen=True, slots=True)
class Manager:
    """Who wrote: a name, how (`Apply` or `Update`), and to which subresource."""

    name: str
    operation: str
    subresource: str = ""


class Ownership:
    """The owners of an object's fields, as read from and written to `metadata.managedFields`."""

    def __init__(self, entries: list[Object]) -> None:
        self.paths: dict[Manager, set[Path]] = {}
        self._entries: dict[Manager, Object] = {}
        for entry in entries:
            if not entry.get("manager") and not entry.get("fieldsV1"):
                continue  # a client that sends [{}] gives up all ownership
            manager = Manager(
                entry.get("manager", ""), entry.get("operation", "Update"), entry.get("subresource", "")
            )
            self.paths[manager] = from_fields_v1(entry.get("fieldsV1") or {})
            self._entries[manager] = entry

    def others(self, manager: Manager) -> dict[Manager, set[Path]]:
        return {other: paths for other, paths in self.paths.items() if other != manager}

    def give(self, manager: Manager, changed: set[Path], gone: set[Path]) -> None:
        """`manager` wrote `changed`: it owns them now and no other does. Nobody owns what is gone."""
        for other in self.paths:
            self.paths[other] -= gone if other == manager else gone | changed
        if changed:
            self.paths[manager] = self.paths.get(manager, set()) | changed

    def entries(self, api_version: str, now: str) -> list[Object]:
        """As `managedFields`. An entry whose fields did not change keeps its time and version."""
        result = []
        for manager, paths in self.paths.items():
            if not paths:
                continue
            old = self._entries.get(manager)
            if old is not None and from_fields_v1(old.get("fieldsV1") or {}) == paths:
                result.append(old)
                continue
            entry = {
                "manager": manager.name,
                "operation": manager.operation,
                "apiVersion": api_version,
                "time": now,
                "fieldsType": "FieldsV1",
                "fieldsV1": to_fields_v1(paths),
            }
            if manager.subresource:
                entry["subresource"] = manager.subresource
            result.append(entry)
        return result
