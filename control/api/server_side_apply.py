"""Server-side apply: merge what a manager wants into an object, remove what it no longer wants, refuse conflicts.

Pure. Invariant: a field that another manager set to another value changes only with force.
Reference: Kubernetes' "Server-Side Apply"; sigs.k8s.io/structured-merge-diff/merge.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from control.api.errors import apply_conflict
from control.api.managed_fields import ListKeys, Manager, Ownership, Path, item_element, leaves, show
from control.resources.kind import Object

_ABSENT = object()
_KUBECTL = "kubectl"  # the field manager of `kubectl apply --server-side`
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def apply(
    live: Object, wanted: Object, owners: Ownership, manager: Manager, lists: ListKeys, *, force: bool
) -> Object:
    """The object after `manager` applied `wanted`; `owners` is updated. Raises ApiError 409 on conflicts."""
    now, after = leaves(live, lists), leaves(wanted, lists)
    contested = [
        (path, other)
        for other, paths in owners.others(manager).items()
        for path in paths & after.keys()
        if path[-1] != "." and now.get(path, _ABSENT) not in (_ABSENT, after[path])
    ]
    yielded = _applied_by_client(live, lists) if manager.name == _KUBECTL else set()
    if not force and any(path not in yielded for path, _ in contested):
        raise apply_conflict((show(path), other.name) for path, other in contested)
    for path, other in contested:
        owners.paths[other].discard(path)
    result: Object = _merge(live, wanted, lists, "")
    given_up = owners.paths.get(manager, set()) - after.keys()
    kept = set().union(*owners.others(manager).values())
    # Whole items go first: an item is found by its keys, which must not go before it.
    for path in sorted(given_up, key=lambda path: (path[-1] != ".", path)):
        if not _is_key(path) and not _still_owned(path, kept | after.keys()):
            _remove(result, path, lists, "")
    owners.paths[manager] = set(after)
    return result


def _applied_by_client(live: Object, lists: ListKeys) -> set[Path]:
    """What `kubectl apply` set before: the same user, so `kubectl apply --server-side` may change it without force."""
    annotations = live["metadata"].get("annotations") or {}
    try:
        before = json.loads(annotations.get(_LAST_APPLIED, "{}"))
    except ValueError:
        return set()
    return set(leaves(before, lists)) if isinstance(before, dict) else set()


def _is_key(path: Path) -> bool:
    """Whether a field is part of what identifies its list item; it stays while the item does."""
    return len(path) > 1 and path[-2].startswith("k:") and path[-1][2:] in json.loads(path[-2][2:])


def _still_owned(path: Path, owned: set[Path]) -> bool:
    """An item of a list is owned while anyone owns any of its fields."""
    if path[-1] == ".":
        return any(other[: len(path) - 1] == path[:-1] for other in owned)
    return any(other[: len(path)] == path for other in owned)


def _merge(live: Any, wanted: Any, lists: ListKeys, where: str) -> Any:
    if isinstance(wanted, dict) and isinstance(live, dict):
        result = dict(live)
        for name, value in wanted.items():
            here = f"{where}.{name}" if where else name
            result[name] = _merge(live[name], value, lists, here) if name in live else copy.deepcopy(value)
        return result
    if isinstance(wanted, list) and isinstance(live, list) and where in lists:
        return _merge_items(live, wanted, lists, where)
    return copy.deepcopy(wanted)


def _merge_items(live: list[Any], wanted: list[Any], lists: ListKeys, where: str) -> list[Any]:
    keys = lists[where]
    if not keys:
        return live + [item for item in wanted if item not in live]
    result = list(live)
    places = {item_element(item, keys): index for index, item in enumerate(result) if isinstance(item, dict)}
    for item in wanted:
        index = places.get(item_element(item, keys)) if isinstance(item, dict) else None
        if index is None:
            result.append(copy.deepcopy(item))
        else:
            result[index] = _merge(result[index], item, lists, where)
    return result


def _remove(node: Any, path: Path, lists: ListKeys, where: str) -> None:
    """Remove the field at `path`, and the maps left empty by it. Changes `node`, which must not be shared."""
    element, rest = path[0], path[1:]
    if element.startswith("f:"):
        name = element[2:]
        if not isinstance(node, dict) or name not in node:
            return
        if rest:
            node[name] = copy.copy(node[name])
            _remove(node[name], rest, lists, f"{where}.{name}" if where else name)
        if not rest or node[name] in ({}, []):
            del node[name]
    elif isinstance(node, list) and where in lists:
        for index, item in enumerate(node):
            mine = item_element(item, lists[where]) == element if lists[where] else _same(item, element)
            if not mine:
                continue
            if not rest or rest == (".",):
                del node[index]
            else:
                node[index] = copy.copy(item)
                _remove(node[index], rest, lists, where)
            return


def _same(item: Any, element: str) -> bool:
    return bool(leaves({"x": [item]}, {"x": ()}).keys() == {("f:x", element)})
