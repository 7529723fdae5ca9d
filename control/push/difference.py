"""From one state of a proxy to another: only what changed, encoded once for all proxies that have it in common.

Of a route table that kept its frame only the virtual hosts that changed are told, between ranges of those that stay where they were. Whoever
applies it to the earlier state has the later one, byte for byte. Reference: ARCHITECTURE.md, `discovery:aggregated`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from weakref import ref

import msgspec

from control.compile.part import Part
from control.compile.resource import Resource, Table
from control.push.packed import Body
from control.push.snapshot import Snapshot

_NOTHING: Mapping[str, Resource] = {}
_encode = msgspec.json.encode
Encoded = dict[str, list[bytes]]  # by type URL
Patches = dict[str, list[tuple[bytes, Resource]]]


@dataclass(slots=True)
class Difference:
    """`changed` resources are whole, `patched` ones are instructions, each with the resource it leads to. `removed` are names."""

    changed: Encoded = field(default_factory=dict)
    patched: Patches = field(default_factory=dict)
    removed: dict[str, list[str]] = field(default_factory=dict)
    touched: dict[str, set[str]] = field(default_factory=dict)  # the names of all three
    encoded: dict[bool, Body] = field(default_factory=dict)  # kept by `control.push.answer`

    def add(self, other: Difference) -> None:
        for url, bodies in other.changed.items():
            self.changed[url] = self.changed.get(url, []) + bodies
        for url, patches in other.patched.items():
            self.patched[url] = self.patched.get(url, []) + patches
        for url, names in other.removed.items():
            self.removed[url] = self.removed.get(url, []) + names
        for url, named in other.touched.items():
            self.touched[url] = self.touched.get(url, set()) | named

    def __bool__(self) -> bool:
        return bool(self.touched)


_NONE = Difference()
_WAYS = 4  # earlier parts that proxies may come from: some are slower than others


def difference(old: Snapshot, new: Snapshot) -> Difference:
    """What leads from `old` to `new`."""
    if len(old.parts) != len(new.parts):
        return _between(_merged(old), _merged(new))
    found = [each for each in map(_of_parts, old.parts, new.parts) if each]
    if len(found) == 1:
        return found[0]
    total = Difference()
    for one in found:
        total.add(one)
    return total


def _merged(snapshot: Snapshot) -> Part:
    return Part(snapshot.resources)


class _Arrivals:
    """The last differences that led to a part, for the other proxies that come the same way."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: list[tuple[ref[Part], Difference]] = []

    def find(self, old: Part) -> Difference | None:
        return next((found for known, found in self._known if known() is old), None)

    def add(self, old: Part, found: Difference) -> None:
        self._known = [*self._known[-_WAYS + 1 :], (ref(old), found)]


def _of_parts(old: Part, new: Part) -> Difference:
    if old is new:
        return _NONE
    if not isinstance(new.arrived_from, _Arrivals):
        new.arrived_from = _Arrivals()
    known = new.arrived_from.find(old)
    if known is None:
        known = _between(old, new)
        new.arrived_from.add(old, known)
    return known


def _between(old: Part, new: Part) -> Difference:
    found = Difference()
    for url in {**old.resources, **new.resources}:
        before, after = old.resources.get(url, _NOTHING), new.resources.get(url, _NOTHING)
        if before is after:
            continue
        _compare(found, url, before, after)
    return found


def _compare(
    found: Difference, url: str, before: Mapping[str, Resource], after: Mapping[str, Resource]
) -> None:
    touched: set[str] = set()
    for name, resource in after.items():
        known = before.get(name)
        if known is resource or (known is not None and known.digest == resource.digest):
            continue
        touched.add(name)
        if isinstance(resource, Table) and isinstance(known, Table) and known.frame == resource.frame:
            found.patched.setdefault(url, []).append((patch(known, resource), resource))
        else:
            found.changed.setdefault(url, []).append(resource.body)
    gone = [name for name in before if name not in after]
    if gone:
        found.removed[url] = gone
        touched.update(gone)
    if touched:
        found.touched[url] = touched


def patch(old: Table, new: Table) -> bytes:
    """`{"name", "virtual_hosts": […]}`: each entry is a virtual host, or `[FROM, TO]`, a range of the earlier ones."""
    where = {piece.digest: number for number, piece in enumerate(old.pieces)}
    entries: list[bytes] = []
    start = end = -1  # the range under way
    for piece in new.pieces:
        number = where.get(piece.digest, -1)
        if number >= 0 and number == end:
            end += 1
            continue
        entries += _range(start, end)
        start, end = number, number + 1
        if number < 0:
            start = end = -1
            entries.append(piece.body)
    entries += _range(start, end)
    return b'{"name":%b,"virtual_hosts":[%b]}' % (_encode(new.name), b",".join(entries))


def _range(start: int, end: int) -> Iterable[bytes]:
    return () if start < 0 else (b"[%d,%d]" % (start, end),)
