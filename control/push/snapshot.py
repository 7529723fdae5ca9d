"""What one proxy is to have: all its resources of one moment, their versions, and the difference to another moment.

A version is a digest of content. So a poll stays held while nothing changed for it, and a control plane that was restarted agrees with its
proxies about what they have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from control.compile.resource import Resource, Resources

_NOTHING: Mapping[str, Resource] = {}


def digest(resources: Iterable[Resource]) -> str:
    """The version of a set of resources."""
    text = "\n".join(sorted(f"{resource.name} {resource.digest}" for resource in resources))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class Difference(NamedTuple):
    """From one snapshot to another, by type URL."""

    changed: dict[str, list[Resource]]
    removed: dict[str, list[str]]


@dataclass(frozen=True)
class Snapshot:
    """All resources of a proxy; `version` covers them all."""

    resources: Resources
    version: str

    def select(self, type_url: str, names: Sequence[str]) -> list[Resource]:
        """The named resources of a type that exist; all of them for no names or `*`."""
        known = self.resources.get(type_url, _NOTHING)
        if not names or "*" in names:
            return list(known.values())
        return [known[name] for name in names if name in known]

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(found)} {url.rpartition('.')[2]}" for url, found in self.resources.items())
        return f"<Snapshot {self.version}: {counts}>"


def snapshot(resources: Resources) -> Snapshot:
    return Snapshot(
        resources, digest(resource for found in resources.values() for resource in found.values())
    )


def difference(old: Snapshot, new: Snapshot) -> Difference:
    changed: dict[str, list[Resource]] = {}
    removed: dict[str, list[str]] = {}
    for url in {**old.resources, **new.resources}:
        before, after = old.resources.get(url, _NOTHING), new.resources.get(url, _NOTHING)
        differing = [
            resource
            for name, resource in after.items()
            if name not in before or before[name].digest != resource.digest
        ]
        gone = [name for name in before if name not in after]
        if differing:
            changed[url] = differing
        if gone:
            removed[url] = gone
    return Difference(changed, removed)
