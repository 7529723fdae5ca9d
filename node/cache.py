"""A local copy of what the API holds, kept by list and watch; whoever cares is told which object changed.

Decides only when to list again. While the API is away the copy stays as it was: the node keeps running what it runs.
Reference: client-go's reflector and shared informer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from node.api_client import ApiAway, ApiClient, ApiError, Object, Resource

log = logging.getLogger(__name__)

Key = tuple[str, str]  # namespace, name
Listener = Callable[[Key], None]

RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
GONE = 410  # the resourceVersion is too old: list again


def key_of(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


class Cache:
    """All objects of one kind. Objects are shared: nobody changes one."""

    def __init__(self, api: ApiClient, resource: Resource) -> None:
        self._api = api
        self._resource = resource
        self._objects: dict[Key, Object] = {}
        self._listeners: list[Listener] = []
        self.synced = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Cache {self._resource.plural} {len(self._objects)}{'' if self.synced.is_set() else ' not synced'}>"

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._objects.values()))

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def listen(self, listener: Listener) -> None:
        """Calls `listener` with the key of every object that was added, changed or removed from now on."""
        self._listeners.append(listener)

    def put(self, obj: Object) -> None:
        """Takes in an object the API has just answered with, ahead of the watch."""
        held = self._objects.get(key_of(obj))
        if held is None or _version(held) < _version(obj):
            self._store(obj)

    async def run(self) -> None:
        """Follows the API until cancelled."""
        failures = 0
        while True:
            try:
                objects, version = await self._api.list(self._resource)
                self._replace(objects)
                failures = 0
                await self._follow(version)
            except ApiAway as error:
                log.debug("%s: %s", self._resource.plural, error)
            except ApiError as error:
                if error.status != GONE:
                    log.warning("cannot list %s: %s", self._resource.plural, error)
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    async def _follow(self, version: str) -> None:
        """Watches from `version` on, again whenever the server ends the watch in order."""
        while True:
            async for event in self._api.watch(self._resource, version):
                if event["type"] == "ERROR":
                    raise ApiError(int(event["object"].get("code", 500)), str(event["object"].get("message")))
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] == "DELETED":
                    self._remove(key_of(event["object"]))
                elif event["type"] != "BOOKMARK":
                    self._store(event["object"])

    def _replace(self, objects: list[Object]) -> None:
        new = {key_of(obj): obj for obj in objects}
        for key in [key for key in self._objects if key not in new]:
            self._remove(key)
        for obj in new.values():
            self._store(obj)
        self.synced.set()

    def _store(self, obj: Object) -> None:
        key = key_of(obj)
        held = self._objects.get(key)
        if held is not None and _version(held) == _version(obj):
            return
        self._objects[key] = obj
        self._tell(key)

    def _remove(self, key: Key) -> None:
        if self._objects.pop(key, None) is not None:
            self._tell(key)

    def _tell(self, key: Key) -> None:
        for listener in self._listeners:
            listener(key)


def _version(obj: Object) -> int:
    """Our API's resourceVersions are one counter; a server whose are not just loses the shortcut of `put`."""
    version = obj["metadata"].get("resourceVersion", "")
    return int(version) if version.isdigit() else -1
