"""Polls the control plane for snapshots and has each applied whole, or refused whole.

One request asks for all types; its answer is the difference to the version accepted last, or everything. `apply` either
takes a snapshot or raises, and then the last good one goes on serving and the next request carries the reason. Without a
control plane the sidecar keeps what it has; attempts go on with jittered, growing pauses.
Reference: ARCHITECTURE.md, `discovery:aggregated`; Envoy xDS protocol, ACK and NACK.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from proxy import clock
from proxy.config.decode import CLUSTER, LISTENER, PATHS
from proxy.observability import logging
from proxy.observability.stats import StatsStore
from proxy.xds.backoff import Backoff
from proxy.xds.http_client import HttpClient, HttpError
from proxy.xds.resources import EMPTY, ResourceError, Resources, TablePatch, merged
from proxy.xds.update_stats import UpdateStats

PATH = "/v3/discovery:aggregated"
_POLL_SECONDS = 60.0  # the control plane answers within 30 s
_HEADERS = (("Accept-Encoding", "gzip"),)
INVALID_ARGUMENT = 3  # google.rpc.Code

log = logging.logger("xds")

# Takes a snapshot and its version, at once or when awaited; raises ValueError if it cannot be used.
Apply = Callable[[Resources, str], Awaitable[None] | None]


class Answer(msgspec.Struct):
    """A response of the aggregated endpoint."""

    version_info: str
    nonce: str = ""
    full: bool = True
    resources: dict[str, list[msgspec.Raw]] = {}
    removed_resources: dict[str, list[str]] = {}
    patched_resources: dict[str, list[TablePatch]] = {}


_answers = msgspec.json.Decoder(Answer)


class XdsClient:
    """Keeps a sidecar's configuration current. `resources` and `version` are those accepted last."""

    def __init__(
        self,
        http: HttpClient,
        node: Mapping[str, Any],
        apply: Apply,
        stats: StatsStore,
        may_apply: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        """`may_apply` is awaited before each apply: listeners wait for the secrets they need."""
        self._http, self._node, self._apply = http, node, apply
        self._may_apply = may_apply
        self._connected = stats.gauge("control_plane.connected_state")
        self._updates = {
            CLUSTER: UpdateStats(stats, "cluster_manager.cds"),
            LISTENER: UpdateStats(stats, "listener_manager.lds"),
        }
        self.resources: Resources = EMPTY
        self.version = ""
        self._nonce = ""
        self._error: str | None = None  # why the last answer was refused, until that is told

    async def run(self) -> None:
        """Poll for as long as the sidecar lives."""
        backoff = Backoff(initial=0.2, maximum=10.0)
        try:
            while True:
                if await self._polled():
                    backoff.reset()
                else:  # nor must a control plane that repeats what was refused make us spin
                    await asyncio.sleep(backoff.next(random.random()))  # noqa: S311 - spreads retries
        finally:
            self._http.close()

    async def _polled(self) -> bool:
        """One poll; False if it brought nothing usable."""
        try:
            return await self.poll()
        except HttpError as error:
            self._lost(error)
            return False

    async def poll(self) -> bool:
        """One request; False if its answer was refused. Raises `HttpError` if there was none."""
        response = await self._http.request(
            "POST", PATH, self._request(), within=_POLL_SECONDS, headers=_HEADERS
        )
        if response.status not in (200, 304):
            text = response.body[:200].decode("utf-8", "replace").strip()
            raise HttpError(f"{self._http}: status {response.status} {text}".rstrip())
        self._found()
        self._error = None  # it was told
        if response.status == 304:
            return True
        if self._may_apply is not None:
            await self._may_apply()
        return await self._take(response.body)

    def _request(self) -> bytes:
        message: dict[str, Any] = {
            "node": self._node,
            "version_info": self.version,
            "response_nonce": self._nonce,
            "patches": True,
        }
        if self._error is not None:
            message["error_detail"] = {"code": INVALID_ARGUMENT, "message": self._error}
        return msgspec.json.encode(message)

    async def _take(self, body: bytes) -> bool:
        """Apply one answer; a refusal is remembered for the next request."""
        touched: set[str] = set()
        try:
            answer = _answers.decode(body)
            self._nonce = answer.nonce
            touched = {*answer.resources, *answer.removed_resources, *answer.patched_resources}
            candidate = merged(
                self.resources,
                answer.resources,
                answer.removed_resources,
                version=answer.version_info,
                now=clock.wall(),
                full=answer.full,
                patches=answer.patched_resources,
            )
            applying = self._apply(candidate, answer.version_info)
            if applying is not None:
                await applying
        except (msgspec.DecodeError, ResourceError, ValueError) as error:
            self._error = str(error)
            log.warning("configuration refused, the last good one goes on serving: %s", error)
            self._count(touched, "", accepted=False)
            return False
        self.resources, self.version = candidate, answer.version_info
        self._count(touched if not answer.full else set(self._updates), self.version, accepted=True)
        log.debug("configuration %s in use", self.version)
        return True

    def _count(self, touched: set[str], version: str, *, accepted: bool) -> None:
        for type_url, stats in self._updates.items():
            if type_url in touched or not touched & PATHS.keys():
                stats.accepted(version) if accepted else stats.rejected()

    def _lost(self, error: HttpError) -> None:
        if self._connected.value or not self.version:
            log.warning("control plane: %s", error)
        self._connected.value = 0
        for stats in self._updates.values():
            stats.failed()

    def _found(self) -> None:
        if not self._connected.value:
            log.info("control plane: connected to %s", self._http)
        self._connected.value = 1

    def __repr__(self) -> str:
        return f"<XdsClient {self._http} version={self.version or 'none'}>"
