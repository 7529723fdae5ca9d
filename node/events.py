"""Events: what happened to an object, for `kubectl describe`. Repetitions are counted, not listed.

Events are told in passing: one that cannot be written is dropped, and nothing waits for one. Reference: client-go tools/record.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import uuid

from node.api_client import EVENTS, ApiAway, ApiClient, ApiError, Object

log = logging.getLogger(__name__)

COMPONENT = "glassmesh-node"
MOST_QUEUED = 1000


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Events:
    """Writes events in the background."""

    def __init__(self, api: ApiClient, node_name: str) -> None:
        self._api = api
        self._node_name = node_name
        self._queue: asyncio.Queue[Object] = asyncio.Queue(MOST_QUEUED)
        self._names: dict[tuple[str, ...], tuple[str, int]] = {}

    def __repr__(self) -> str:
        return f"<Events {self._queue.qsize()} to write>"

    def normal(self, about: Object, kind: str, reason: str, message: str, container: str = "") -> None:
        self._tell("Normal", about, kind, reason, message, container)

    def warning(self, about: Object, kind: str, reason: str, message: str, container: str = "") -> None:
        self._tell("Warning", about, kind, reason, message, container)

    async def run(self) -> None:
        """Writes what is queued until cancelled."""
        while True:
            event = await self._queue.get()
            try:
                await self._write(event)
            except (ApiAway, ApiError) as error:
                log.debug("event dropped: %s", error)

    def _tell(
        self, kind: str, about: Object, about_kind: str, reason: str, message: str, container: str
    ) -> None:
        metadata = about["metadata"]
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "type": kind,
            "reason": reason,
            "message": message,
            "involvedObject": {
                "apiVersion": about.get("apiVersion", "v1"),
                "kind": about_kind,
                "namespace": metadata.get("namespace", ""),
                "name": metadata["name"],
                "uid": metadata.get("uid", ""),
            },
            "source": {"component": COMPONENT, "host": self._node_name},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._node_name,
            "lastTimestamp": now(),
        }
        if container:
            event["involvedObject"]["fieldPath"] = f"spec.containers{{{container}}}"
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            pass

    async def _write(self, event: Object) -> None:
        about = event["involvedObject"]
        namespace = about["namespace"] or "default"
        same = (about["uid"], about.get("fieldPath", ""), event["type"], event["reason"], event["message"])
        if same in self._names:
            name, count = self._names[same]
            self._names[same] = name, count + 1
            change = {"count": count + 1, "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._api.patch(EVENTS, namespace, name, change)
            except ApiError as error:
                if error.status != 404:
                    raise
                del self._names[same]  # it was cleared; tell it anew
            else:
                return
        name = f"{about['name']}.{uuid.uuid4().hex[:16]}"
        first = {"firstTimestamp": event["lastTimestamp"], "count": 1}
        await self._api.create(
            EVENTS, namespace, event | first | {"metadata": {"name": name, "namespace": namespace}}
        )
        self._names[same] = name, 1
