"""Resources that were found to be good, kept as they came and read again whenever somebody needs one.

Of a thousand clusters a sidecar uses a handful; typed, all of them would take ten times the memory. Invariant: reading one cannot fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec

from proxy.config.decode import decode

T = TypeVar("T")


class OnDemand(Mapping[str, T]):
    """Typed resources by name, each made anew when asked for. `raws` is their JSON."""

    __slots__ = ("raws", "type_url")

    def __init__(self, type_url: str, raws: Mapping[str, msgspec.Raw]) -> None:
        self.type_url, self.raws = type_url, raws

    def __getitem__(self, name: str) -> T:
        found: T = decode(self.type_url, name, self.raws[name])
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.raws)

    def __len__(self) -> int:
        return len(self.raws)

    def __contains__(self, name: object) -> bool:
        return name in self.raws

    def __repr__(self) -> str:
        return f"<OnDemand {len(self.raws)} of {self.type_url.rpartition('.')[2]}>"


def source(resources: Mapping[str, T], name: str) -> object:
    """An object that is the same for as long as the resource is; None: there is none."""
    return resources.raws.get(name) if isinstance(resources, OnDemand) else resources.get(name)
