"""One push, decoded: every resource of one version, by name. Immutable; unchanged resources keep their object.

Keeping the object is what lets the listener and cluster managers see by identity what changed. Clusters and endpoints are checked and
kept as they came: most of them nobody will use. Of those it is the JSON that keeps its object.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from proxy.config.cluster import Cluster
from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, ConfigError, decode
from proxy.config.endpoint import ClusterLoadAssignment
from proxy.config.listener import Listener
from proxy.config.on_demand import OnDemand
from proxy.config.route import RouteConfiguration
from proxy.config.route_pieces import decode_again
from proxy.config.secret import Secret

T = TypeVar("T")
Raws = Mapping[str, Mapping[str, msgspec.Raw]]  # type URL, then name


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a sidecar routes by. `raw` holds each resource as it came, for `/config_dump`."""

    version: str = ""
    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    endpoints: Mapping[str, ClusterLoadAssignment] = field(default_factory=dict)
    listeners: Mapping[str, Listener] = field(default_factory=dict)
    routes: Mapping[str, RouteConfiguration] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    raw: Raws = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"<Snapshot {self.version or 'empty'}: {len(self.listeners)} listeners, {len(self.routes)} routes, "
            f"{len(self.clusters)} clusters, {len(self.endpoints)} endpoints>"
        )


Steps = Generator[None, None, T]
"""Work that can be interrupted wherever it yields; its value is the outcome."""


def finish(steps: Steps[T]) -> T:
    """All of it at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: T = end.value
            return outcome


def build(version: str, raw: Raws, previous: Snapshot) -> Snapshot:
    """Decode what differs from `previous`. Raises `ConfigError` listing every resource that is wrong."""
    return finish(build_steps(version, raw, previous))


def build_steps(version: str, raw: Raws, previous: Snapshot) -> Steps[Snapshot]:
    """`build`, a resource after the other."""
    reading = _Reading(raw, previous)
    snapshot = Snapshot(
        version=version,
        clusters=(yield from reading.checked(CLUSTER, previous.clusters)),
        endpoints=(yield from reading.checked(ENDPOINT, previous.endpoints)),
        listeners=(yield from reading.typed(LISTENER, previous.listeners)),
        routes=(yield from reading.typed(ROUTE, previous.routes)),
        secrets=(yield from reading.typed(SECRET, previous.secrets)),
        raw=raw,
    )
    if reading.errors:
        raise ConfigError("; ".join(reading.errors))
    return snapshot


class _Reading:
    """Reads the resources of a push, and collects what is wrong with them."""

    def __init__(self, raw: Raws, previous: Snapshot) -> None:
        self._raw, self._previous = raw, previous
        self.errors: list[str] = []

    def _read(self, type_url: str, name: str, before: Any) -> Any:
        """A resource that is new, or another than it was; None if it is wrong."""
        kept, text = self._previous.raw.get(type_url, {}).get(name), self._raw[type_url][name]
        try:
            if type_url == ROUTE and kept is not None:
                found = decode_again(name, text, kept, before)
                if found is not None:
                    return found
            return decode(type_url, name, text)
        except ConfigError as error:
            self.errors.append(str(error))
            return None

    def typed(self, type_url: str, before: Mapping[str, Any]) -> Steps[Mapping[str, Any]]:
        """Resources that are in use as soon as they are there."""
        old, new = self._previous.raw.get(type_url, {}), self._raw.get(type_url, {})
        if new is old:
            return before
        result: dict[str, Any] = {}
        for name, text in new.items():
            if _same(old.get(name), text):
                result[name] = before[name]
                continue
            result[name] = self._read(type_url, name, before.get(name))
            yield
        return result

    def checked(self, type_url: str, before: Mapping[str, Any]) -> Steps[Mapping[str, Any]]:
        """Resources that may never be used."""
        new = self._raw.get(type_url, {})
        if new is self._previous.raw.get(type_url, {}):
            return before
        known = before.raws if isinstance(before, OnDemand) else {}
        result: dict[str, msgspec.Raw] = {}
        for name, text in new.items():
            kept = known.get(name)
            if kept is not None and _same(kept, text):
                result[name] = kept
                continue
            self._read(type_url, name, None)
            result[name] = text
            yield
        return OnDemand(type_url, result)


def _same(one: msgspec.Raw | None, other: msgspec.Raw) -> bool:
    return one is other or (one is not None and bytes(one) == bytes(other))
