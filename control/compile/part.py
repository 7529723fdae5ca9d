"""Resources that belong together: those all clients of one view share, or those of one workload.

Immutable, and the same object for every proxy that has it, so that what is worked out about it is worked out once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from control.compile.resource import Resource, Resources, checksum


def digest(resources: Iterable[Resource]) -> str:
    """The version of a set of resources."""
    text = "\n".join(sorted(f"{resource.name} {resource.digest}" for resource in resources))
    return checksum(text.encode())


class Part:
    """`resources` by type URL, then name. Two parts of one proxy have no resource in common."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.arrived_from: object = None  # what led here last; its owner is `control.push.difference`
        self.encoded: object = None  # as answers hold it; its owner is `control.push.answer`

    @cached_property
    def digest(self) -> str:
        return digest(resource for found in self.resources.values() for resource in found.values())

    @cached_property
    def digests(self) -> dict[str, str]:
        """The version of each type."""
        return {url: digest(found.values()) for url, found in self.resources.items()}

    def __repr__(self) -> str:
        return f"<Part {self.digest}>"


def merged(parts: Iterable[Part]) -> Resources:
    """The resources of all parts of a proxy."""
    found: dict[str, dict[str, Resource]] = {}
    for part in parts:
        for url, resources in part.resources.items():
            found.setdefault(url, {}).update(resources)
    return found
