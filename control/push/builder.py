"""Builds a `PushContext` from the objects of the store, parsing only what changed.

An object that cannot be parsed (stored by another version, or by a real API server without our checks) is left out and logged once;
the rest of the mesh goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar

from control.mesh_config import MeshConfig
from control.push import config
from control.push.context import PushContext
from control.registry.locality import node_from
from control.registry.objects import Key, ObjectCache
from control.registry.service import service_from
from control.registry.workload import place, workload_from
from control.resources import (
    config_map,
    destination_rule,
    gateway,
    local_rate_limit,
    node,
    peer_authentication,
    pod,
    service,
    virtual_service,
)
from control.resources.kind import Kind, Object

T = TypeVar("T")

log = logging.getLogger(__name__)

# What the mesh is made of; every other kind is of no concern here.
KINDS: tuple[Kind, ...] = (
    service.KIND,
    pod.KIND,
    node.KIND,
    virtual_service.KIND,
    destination_rule.KIND,
    gateway.KIND,
    peer_authentication.KIND,
    config_map.SECRET,
    local_rate_limit.KIND,
)


class ContextBuilder:
    """`build` a context from the cache as it is now."""

    def __init__(self, cache: ObjectCache, mesh: MeshConfig) -> None:
        self._cache = cache
        self._mesh = mesh
        self._parsed: dict[str, dict[Key, tuple[Object, object]]] = {}
        self._parts: tuple[list[object], ...] = ()
        self._context = PushContext(mesh)

    def build(self) -> PushContext:
        """The context of now; the same one as before while nothing that matters has changed."""
        domain = self._mesh.clusterDomain
        nodes = self._all(node.KIND, node_from)
        parts = (
            self._all(service.KIND, lambda obj: service_from(obj, domain)),
            place(self._all(pod.KIND, workload_from), nodes),
            self._all(virtual_service.KIND, lambda obj: config.virtual_service(obj, domain)),
            self._all(destination_rule.KIND, lambda obj: config.destination_rule(obj, domain)),
            self._all(gateway.KIND, config.gateway),
            self._all(peer_authentication.KIND, config.peer_authentication),
            self._all(config_map.SECRET, config.credential),
            self._all(local_rate_limit.KIND, config.local_rate_limit),
        )
        if parts != self._parts:
            self._parts = parts  # type: ignore[assignment]  # only compared
            self._context = PushContext(self._mesh, *parts)
        return self._context

    def _all(self, kind: Kind, parse: Callable[[Object], T | None]) -> list[T]:
        return [parsed for parsed in self._each(kind, parse) if parsed is not None]

    def _each(self, kind: Kind, parse: Callable[[Object], T | None]) -> Iterator[T | None]:
        before = self._parsed.get(kind.resource, {})
        after: dict[Key, tuple[Object, object]] = {}
        for key, obj in self._cache.objects(kind).items():
            known = before.get(key)
            # The store never changes an object it has handed out, so the same object has the same content.
            result = known[1] if known and known[0] is obj else self._parse(kind, key, obj, parse)
            after[key] = (obj, result)
            yield result  # type: ignore[misc]  # of the kind's own parser
        self._parsed[kind.resource] = after

    @staticmethod
    def _parse(kind: Kind, key: Key, obj: Object, parse: Callable[[Object], T | None]) -> T | None:
        try:
            return parse(obj)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s %s/%s is left out: %s", kind.kind, *key, error)
            return None
