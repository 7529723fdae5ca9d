"""The resources a proxy was given, by type and name, each still the JSON it came as.

Compact (bytes, not objects), and `/config_dump` prints them as they came. Values are never changed in place: an update makes
a new mapping that shares what did not change, so a refused push leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import msgspec

from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, PATHS, ROUTE, SECRET
from proxy.config.route_pieces import join, split

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


class TablePatch(msgspec.Struct):
    """What changed of a route table: its virtual hosts now, each whole or as a range `[from, to]` of the earlier ones."""

    name: str
    virtual_hosts: list[msgspec.Raw] = []


def patched(
    before: Mapping[str, Resource], patches: Iterable[TablePatch], version: str, now: float
) -> Iterator[Resource]:
    """The route tables that patches make of those there are. Raises `ResourceError`."""
    for patch in patches:
        known = before.get(patch.name)
        pieces = split(known.raw) if known is not None else None
        if pieces is None:
            raise ResourceError(f"routes {patch.name}: a patch of what is not there")
        hosts: list[bytes] = []
        for entry in map(bytes, patch.virtual_hosts):
            if entry[:1] == b"[":
                start, end = _range.decode(entry)
                if not 0 <= start < end <= len(pieces.virtual_hosts):
                    raise ResourceError(f"routes {patch.name}: there are no virtual hosts [{start},{end}]")
                hosts += pieces.virtual_hosts[start:end]
            else:
                hosts.append(entry)
        raw = join(pieces._replace(virtual_hosts=hosts))
        yield Resource(patch.name, msgspec.Raw(raw), version, now)


_range = msgspec.json.Decoder(tuple[int, int])


def merged(
    base: Resources,
    changed: Mapping[str, Iterable[msgspec.Raw]],
    removed: Mapping[str, Iterable[str]],
    *,
    version: str,
    now: float,
    full: bool = False,
    patches: Mapping[str, Iterable[TablePatch]] | None = None,
) -> Resources:
    """`base` with resources replaced, patched and taken away; with `full`, only what `changed` holds.

    A resource sent again unchanged stays the same object, so that comparing by identity tells what changed.
    """
    patches = patches or {}
    unknown = sorted({*changed, *removed} - PATHS.keys() | patches.keys() - {ROUTE})
    if unknown:
        raise ResourceError(f"resource type {unknown[0]} is not supported")
    result = dict(base)
    for type_url in TYPES if full else {*changed, *removed, *patches}:
        before = base.get(type_url, {})
        kept = {} if full else dict(before)
        for name in removed.get(type_url, ()):
            kept.pop(name, None)
        for made in patched(before, patches.get(type_url, ()), version, now):
            kept[made.name] = made
        for name, resource in by_name(type_url, changed.get(type_url, ()), version, now).items():
            old = before.get(name)
            kept[name] = old if old is not None and bytes(old.raw) == bytes(resource.raw) else resource
        result[type_url] = kept
    return result
