"""The resources a proxy was given, by type and name, each still the JSON it came as.

Compact (bytes, not objects), and `/config_dump` prints them as they came. Values are never changed in place: an update makes
a new mapping that shares what did not change, so a refused push leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, PATHS, ROUTE, SECRET

# Make before break: clusters and their endpoints exist before the listeners and routes that name them.
TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET)


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as it came: its JSON, the version it came with, and when (seconds since the epoch)."""

    name: str
    raw: msgspec.Raw
    version: str
    updated: float


Resources = Mapping[str, Mapping[str, Resource]]

EMPTY: Resources = {type_url: {} for type_url in TYPES}


class ResourceError(ValueError):
    """An answer that cannot be read as resources; the text is one line."""


class _Named(msgspec.Struct):
    name: str = ""
    cluster_name: str = ""


_named = msgspec.json.Decoder(_Named)


def by_name(type_url: str, raws: Iterable[msgspec.Raw], version: str, now: float) -> dict[str, Resource]:
    """Index resources by their name; a nameless or repeated one raises `ResourceError`."""
    found: dict[str, Resource] = {}
    for i, raw in enumerate(raws):
        try:
            named = _named.decode(raw)
        except msgspec.DecodeError as error:
            raise ResourceError(f"{PATHS.get(type_url, type_url)}[{i}]: {error}") from error
        name = named.cluster_name if type_url == ENDPOINT else named.name
        if not name:
            raise ResourceError(f"{PATHS.get(type_url, type_url)}[{i}]: a resource without a name")
        if name in found:
            raise ResourceError(f"duplicate {PATHS.get(type_url, type_url)} {name} found")
        # A Raw shares the whole answer's buffer; a copy lets that one go.
        found[name] = Resource(name, raw.copy(), version, now)
    return found


def merged(
    base: Resources,
    changed: Mapping[str, Iterable[msgspec.Raw]],
    removed: Mapping[str, Iterable[str]],
    *,
    version: str,
    now: float,
    full: bool = False,
) -> Resources:
    """`base` with resources replaced and taken away; with `full`, only what `changed` holds.

    A resource sent again unchanged stays the same object, so that comparing by identity tells what changed.
    """
    unknown = sorted({*changed, *removed} - PATHS.keys())
    if unknown:
        raise ResourceError(f"resource type {unknown[0]} is not supported")
    result = dict(base)
    for type_url in TYPES if full else {*changed, *removed}:
        before = base.get(type_url, {})
        gone = removed.get(type_url, ())
        kept = {} if full else {name: r for name, r in before.items() if name not in gone}
        for name, resource in by_name(type_url, changed.get(type_url, ()), version, now).items():
            old = before.get(name)
            kept[name] = old if old is not None and bytes(old.raw) == bytes(resource.raw) else resource
        result[type_url] = kept
    return result
