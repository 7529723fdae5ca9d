"""One push, decoded: every resource of one version, by name. Immutable; unchanged resources keep their object.

Keeping the object is what lets the listener and cluster managers see by identity what changed. Clusters and endpoints are checked and
kept as they came: most of them nobody will use. Of those it is the JSON that keeps its object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from proxy.config.cluster import Cluster
from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, ConfigError, decode
from proxy.config.endpoint import ClusterLoadAssignment
from proxy.config.listener import Listener
from proxy.config.on_demand import OnDemand
from proxy.config.route import RouteConfiguration
from proxy.config.route_pieces import decode_again
from proxy.config.secret import Secret

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


def build(version: str, raw: Raws, previous: Snapshot) -> Snapshot:
    """Decode what differs from `previous`. Raises `ConfigError` listing every resource that is wrong."""
    errors: list[str] = []

    def read(type_url: str, name: str, before: Any) -> Any:
        """Of a resource that is new, or another than it was."""
        kept, text = previous.raw.get(type_url, {}).get(name), raw[type_url][name]
        found = None
        if type_url == ROUTE and kept is not None:
            found = decode_again(name, text, kept, before)
        return decode(type_url, name, text) if found is None else found

    def typed(type_url: str, before: Mapping[str, Any]) -> Mapping[str, Any]:
        old, new = previous.raw.get(type_url, {}), raw.get(type_url, {})
        if new is old:
            return before
        result: dict[str, Any] = {}
        for name, text in new.items():
            if _same(old.get(name), text):
                result[name] = before[name]
                continue
            try:
                result[name] = read(type_url, name, before.get(name))
            except ConfigError as error:
                errors.append(str(error))
        return result

    def checked(type_url: str, before: Mapping[str, Any]) -> Mapping[str, Any]:
        new = raw.get(type_url, {})
        if new is previous.raw.get(type_url, {}):
            return before
        known = before.raws if isinstance(before, OnDemand) else {}
        result: dict[str, msgspec.Raw] = {}
        for name, text in new.items():
            kept = known.get(name)
            if kept is not None and _same(kept, text):
                result[name] = kept
                continue
            try:
                decode(type_url, name, text)
                result[name] = text
            except ConfigError as error:
                errors.append(str(error))
        return OnDemand(type_url, result)

    snapshot = Snapshot(
        version=version,
        clusters=checked(CLUSTER, previous.clusters),
        endpoints=checked(ENDPOINT, previous.endpoints),
        listeners=typed(LISTENER, previous.listeners),
        routes=typed(ROUTE, previous.routes),
        secrets=typed(SECRET, previous.secrets),
        raw=raw,
    )
    if errors:
        raise ConfigError("; ".join(errors))
    return snapshot


def _same(one: msgspec.Raw | None, other: msgspec.Raw) -> bool:
    return one is other or (one is not None and bytes(one) == bytes(other))
