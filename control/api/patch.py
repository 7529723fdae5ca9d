"""The three patch formats that name no owner: JSON patch, JSON merge patch, strategic merge patch.

Pure: documents in, a new document out. Server-side apply is in `server_side_apply`.
Reference: RFC 6902, RFC 7386, and Kubernetes' sig-api-machinery/strategic-merge-patch.md.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


class BadPatch(ValueError):
    """A patch that cannot be applied to this document."""


# JSON patch ----------------------------------------------------------------------------------------------------


def json_patch(document: Any, operations: Any) -> Any:
    """Apply RFC 6902 operations, all or none."""
    if not isinstance(operations, list):
        raise BadPatch("a JSON patch is a list of operations")
    result = {"": copy.deepcopy(document)}  # so that the whole document has a parent too
    for operation in operations:
        try:
            _operate(result, operation)
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            raise BadPatch(f"the server rejected our request due to an error in our request: {exc}") from exc
    return result[""]


def _operate(root: dict[str, Any], operation: Mapping[str, Any]) -> None:
    path = operation["path"]
    match operation["op"]:
        case "test":
            if _get(root, path) != operation["value"]:
                raise ValueError(f"testing path {path} failed")
        case "add":
            _add(root, path, operation["value"])
        case "remove":
            _remove(root, path)
        case "replace":
            _get(root, path)
            parent, key = _parent(root, path)
            parent[key] = operation["value"]
        case "move":
            _add(root, path, _remove(root, operation["from"]))
        case "copy":
            _add(root, path, copy.deepcopy(_get(root, operation["from"])))
        case other:
            raise ValueError(f"unexpected operation {other!r}")


def _parts(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"invalid pointer {pointer!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")]


def _step(node: Any, part: str) -> Any:
    if isinstance(node, list):
        return node[int(part)]
    if part not in node:
        raise KeyError(f"missing path {part!r}")
    return node[part]


def _get(root: dict[str, Any], pointer: str) -> Any:
    node: Any = root
    for part in _parts(pointer):
        node = _step(node, part)
    return node


def _parent(root: dict[str, Any], pointer: str) -> tuple[Any, Any]:
    *above, last = _parts(pointer)
    node: Any = root
    for part in above:
        node = _step(node, part)
    return node, (int(last) if isinstance(node, list) and last != "-" else last)


def _add(root: dict[str, Any], pointer: str, value: Any) -> None:
    parent, key = _parent(root, pointer)
    if not isinstance(parent, list):
        parent[key] = value
    elif key == "-":
        parent.append(value)
    elif 0 <= key <= len(parent):
        parent.insert(key, value)
    else:
        raise IndexError(f"index {key} is out of bounds")


def _remove(root: dict[str, Any], pointer: str) -> Any:
    value = _get(root, pointer)
    parent, key = _parent(root, pointer)
    del parent[key]
    return value


# JSON merge patch ----------------------------------------------------------------------------------------------


def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7386: objects merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


# Strategic merge patch -----------------------------------------------------------------------------------------


def strategic_merge(document: Any, patch: Any, merge_keys: Mapping[str, str], path: str = "") -> Any:
    """As a merge patch, but lists with a merge key merge item by item, and `$patch`, `$retainKeys`,
    `$setElementOrder/…` and `$deleteFromPrimitiveList/…` are directives. An empty merge key means a set of scalars."""
    if not isinstance(patch, dict):
        return patch
    directive = patch.get("$patch")
    if directive == "delete":
        return {}
    rest = {key: value for key, value in patch.items() if key != "$patch"}
    result = dict(document) if isinstance(document, dict) and directive != "replace" else {}
    if "$retainKeys" in rest:
        result = {key: value for key, value in result.items() if key in rest["$retainKeys"]}
    for key, value in rest.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            result[field] = [item for item in result.get(field) or [] if item not in value]
    for key, value in rest.items():
        if key.startswith("$"):
            continue
        where = f"{path}.{key}" if path else key
        if value is None:
            result.pop(key, None)
        elif isinstance(value, list):
            order = rest.get(f"$setElementOrder/{key}")
            result[key] = _merge_list(result.get(key) or [], value, merge_keys, where, order)
        else:
            result[key] = strategic_merge(result.get(key), value, merge_keys, where)
    for key, order in rest.items():
        field = key.partition("/")[2]
        if key.startswith("$setElementOrder/") and field not in rest and isinstance(result.get(field), list):
            where = f"{path}.{field}" if path else field
            result[field] = _ordered(result[field], order, merge_keys.get(where))
    return result


def _merge_list(
    current: list[Any], patch: list[Any], merge_keys: Mapping[str, str], path: str, order: list[Any] | None
) -> list[Any]:
    merge_key = merge_keys.get(path)
    if merge_key is None:
        return patch
    if merge_key == "":
        merged = current + [item for item in patch if item not in current]
        return _ordered(merged, order, merge_key)
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if item.get("$patch") != "replace"]
    result = list(current)
    for item in patch:
        if not isinstance(item, dict) or merge_key not in item:
            raise BadPatch(f"map: {item} does not contain declared merge key: {merge_key}")
        places = [i for i, old in enumerate(result) if old.get(merge_key) == item[merge_key]]
        if item.get("$patch") == "delete":
            result = [old for i, old in enumerate(result) if i not in places]
        elif places:
            result[places[0]] = strategic_merge(result[places[0]], item, merge_keys, path)
        else:
            result.append(strategic_merge({}, item, merge_keys, path))
    return _ordered(result, order, merge_key)


def _ordered(items: list[Any], order: list[Any] | None, merge_key: str | None) -> list[Any]:
    """The items `order` names in that order; the others keep their place after the item they followed."""
    if not order or merge_key is None:
        return items
    names = [item.get(merge_key) if merge_key else item for item in items]
    wanted = [item.get(merge_key) if merge_key else item for item in order]
    rank: dict[int, tuple[int, int]] = {}
    last = -1
    for index, name in enumerate(names):
        last = wanted.index(name) if name in wanted else last
        rank[index] = (last, 0 if name in wanted else index + 1)
    return [items[index] for index in sorted(range(len(items)), key=lambda index: rank[index])]
