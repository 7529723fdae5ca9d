"""Puts the root certificate into every namespace, as ConfigMap `istio-ca-root-cert`, where sidecars mount it.

Reference: istio's pilot/pkg/bootstrap (namespace controller).
"""

from __future__ import annotations

import asyncio
import logging

from control.registry.objects import ObjectCache
from control.resources import config_map, namespace
from control.resources.kind import Object
from control.store.interface import AlreadyExists, Conflict, NotFound, Store

NAME = "istio-ca-root-cert"
KEY = "root-cert.pem"

log = logging.getLogger(__name__)


class RootCertificates:
    """`run` it; `poke` it when a namespace or a ConfigMap changed."""

    def __init__(self, store: Store, cache: ObjectCache, root: bytes) -> None:
        self._store, self._cache = store, cache
        self._data = {KEY: root.decode()}
        self._changed = asyncio.Event()

    def poke(self) -> None:
        self._changed.set()

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for name in self._lacking():
                await self._put(name)

    def _lacking(self) -> list[str]:
        maps = self._cache.objects(config_map.KIND)
        return [
            name
            for (_, name), obj in self._cache.objects(namespace.KIND).items()
            if not obj["metadata"].get("deletionTimestamp")
            and (maps.get((name, NAME)) or {}).get("data") != self._data
        ]

    async def _put(self, name: str) -> None:
        wanted: Object = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": name, "labels": {"istio.io/config": "true"}},
            "data": self._data,
        }
        try:
            known = await self._store.get(config_map.KIND, name, NAME)
        except NotFound:
            known = None
        try:
            if known is None:
                await self._store.create(config_map.KIND, wanted)
            elif known.get("data") != self._data:
                await self._store.update(config_map.KIND, {**known, "data": self._data})
        except (AlreadyExists, Conflict, NotFound):
            self._changed.set()  # somebody else wrote; look again
