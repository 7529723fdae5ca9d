"""Builds a `PushContext` from the objects of the store, parsing only what changed.

An object that cannot be parsed (stored by another version, or by a real API server without our checks) is left out and logged once;
the rest of the mesh goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from control.mesh_config import MeshConfig
from control.push import config
from control.push.context import PushContext
from control.registry.locality import node_from
from control.registry.objects import Key, ObjectCache
from control.registry.service import service_from
from control.registry.workload import Placed, place, workload_from
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
        self._found: dict[str, tuple[int, list[object]]] = {}  # what came of a kind at a revision of it
        self._placed: Placed = {}
        self._context = PushContext(mesh)

    def build(self) -> PushContext:
        """The context of now; the same one as before while nothing that matters has changed."""
        domain = self._mesh.clusterDomain
        made = PushContext(
            self._mesh,
            self._all(service.KIND, lambda obj: service_from(obj, domain)),
            place(self._all(pod.KIND, workload_from), self._all(node.KIND, node_from), self._placed),
            self._all(virtual_service.KIND, lambda obj: config.virtual_service(obj, domain)),
            self._all(destination_rule.KIND, lambda obj: config.destination_rule(obj, domain)),
            self._all(gateway.KIND, config.gateway),
            self._all(peer_authentication.KIND, config.peer_authentication),
            self._all(config_map.SECRET, config.credential),
            self._all(local_rate_limit.KIND, config.local_rate_limit),
            previous=self._context,
        )
        if not made.is_like(self._context):
            self._context = made
        return self._context

    def _all(self, kind: Kind, parse: Callable[[Object], T | None]) -> list[T]:
        revision = self._cache.revision(kind)
        known = self._found.get(kind.resource)
        if known is None or known[0] != revision:
            found = [parsed for parsed in self._each(kind, parse) if parsed is not None]
            known = self._found[kind.resource] = (revision, cast(list[object], found))
        return cast(list[T], known[1])  # of the kind's own parser

    def _each(self, kind: Kind, parse: Callable[[Object], T | None]) -> Iterator[T | None]:
        before = self._parsed.get(kind.resource, {})
        after: dict[Key, tuple[Object, object]] = {}
        for key, obj in self._cache.objects(kind).items():
            known = before.get(key)
            # The store never changes an object it has handed out, so the same object has the same content.
            if known is None or known[0] is not obj:
                result = self._parse(kind, key, obj, parse)
                # What is equal stays the same object, so that nothing is made anew for it.
                known = (obj, known[1] if known is not None and known[1] == result else result)
            after[key] = known
            yield known[1]  # type: ignore[misc]
        self._parsed[kind.resource] = after

    @staticmethod
    def _parse(kind: Kind, key: Key, obj: Object, parse: Callable[[Object], T | None]) -> T | None:
        try:
            return parse(obj)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s %s/%s is left out: %s", kind.kind, *key, error)
            return None
