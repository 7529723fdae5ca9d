"""What one proxy is to have: all its resources of one moment, their versions, and the difference to another moment.

A version is a digest of content. So a poll stays held while nothing changed for it, and a control plane that was restarted agrees with its
proxies about what they have. What proxies share is compared once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from control.compile.part import Part, digest, merged
from control.compile.resource import Resource, Resources, checksum

_NOTHING: Mapping[str, Resource] = {}


class Snapshot:
    """All resources of a proxy; `version` covers them all."""

    def __init__(self, parts: Sequence[Part], version: str = "") -> None:
        """`version` other than the content's own is for tests."""
        self.parts = tuple(parts)
        self.version = version or _version([part.digest for part in self.parts])

    @cached_property
    def resources(self) -> Resources:
        """By type URL, then name."""
        return merged(self.parts)

    def select(self, type_url: str, names: Sequence[str]) -> list[Resource]:
        """The named resources of a type that exist; all of them for no names or `*`."""
        known = [part.resources.get(type_url, _NOTHING) for part in self.parts]
        if not names or "*" in names:
            return [resource for found in known for resource in found.values()]
        return [found[name] for name in names for found in known if name in found]

    def version_of(self, type_url: str, names: Sequence[str]) -> str:
        """The version of what `select` answers."""
        if names and "*" not in names:
            return digest(self.select(type_url, names))
        return _version([part.digests.get(type_url, "") for part in self.parts])

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(found)} {url.rpartition('.')[2]}" for url, found in self.resources.items())
        return f"<Snapshot {self.version}: {counts}>"


def _version(digests: Sequence[str]) -> str:
    if len(digests) == 1:
        return digests[0]
    return checksum(" ".join(digests).encode())


def snapshot(resources: Resources) -> Snapshot:
    """Of resources that nothing is known to share."""
    return Snapshot([Part(resources)])
