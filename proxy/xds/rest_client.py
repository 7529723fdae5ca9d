"""Polls each resource type alone, state of the world, as Envoy itself does: any REST xDS server can drive this sidecar.

Clusters and listeners are asked for whole; endpoints, routes and secrets by the names those use. A change is applied once
everything it names has been answered, so that one apply is one consistent snapshot. A type whose answer is refused keeps its
last good resources and says why in its next request.
Reference: Envoy xDS protocol, REST-JSON polling; reference §16.3 rule 10.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from proxy import clock
from proxy.config.decode import CLUSTER, ENDPOINT, LISTENER, PATHS, ROUTE, SECRET, decode
from proxy.observability import logging
from proxy.observability.stats import StatsStore
from proxy.xds import references
from proxy.xds.backoff import Backoff
from proxy.xds.client import INVALID_ARGUMENT, Apply
from proxy.xds.http_client import HttpClient, HttpError
from proxy.xds.resources import EMPTY, Resource, Resources, merged
from proxy.xds.update_stats import UpdateStats

_POLL_SECONDS = 60.0
_REFRESH_SECONDS = 1.0  # `refresh_delay`: the least time between two answers of the same version

log = logging.logger("xds")


class Discovery(msgspec.Struct):
    """A DiscoveryResponse."""

    version_info: str = ""
    nonce: str = ""
    resources: list[msgspec.Raw] = []


_discoveries = msgspec.json.Decoder(Discovery)


class Subscription:
    """The long poll of one type. `names` None asks for all; an empty tuple asks for nothing."""

    def __init__(self, type_url: str, http: HttpClient, names: tuple[str, ...] | None) -> None:
        self.type_url, self.http, self.names = type_url, http, names
        self.resources: Mapping[str, Resource] = {}
        self.version = ""  # accepted last
        self.nonce = ""
        self.error: str | None = None
        self.answered = names == ()  # for the current names
        self._wanted = asyncio.Event()
        self._poll: asyncio.Task[Discovery | None] | None = None

    def ask_for(self, names: tuple[str, ...]) -> None:
        """Subscribe to `names`; a poll for other names is given up."""
        if names == self.names:
            return
        # A server must answer a changed subscription at once; without a version it always does.
        self.names, self.answered, self.version, self.nonce = names, not names, "", ""
        self.resources = {name: r for name, r in self.resources.items() if name in names}
        self._wanted.set()
        if self._poll is not None:
            self._poll.cancel()

    async def next(self, node: Mapping[str, Any]) -> Discovery | None:
        """The next answer; None for "nothing new" or a poll given up."""
        while self.names == ():
            self._wanted.clear()
            await self._wanted.wait()
        asked = self.names
        self._poll = asyncio.ensure_future(self._request(node))
        try:
            answer = await self._poll
            # It may have come while the names changed; then it answers a question nobody asks any more.
            return answer if asked == self.names else None
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                self._poll.cancel()
                raise
            return None
        finally:
            self._poll = None

    async def _request(self, node: Mapping[str, Any]) -> Discovery | None:
        message: dict[str, Any] = {
            "version_info": self.version,
            "node": node,
            "resource_names": list(self.names or ()),
            "type_url": self.type_url,
            "response_nonce": self.nonce,
        }
        if self.error is not None:
            message["error_detail"] = {"code": INVALID_ARGUMENT, "message": self.error}
        path = f"/v3/discovery:{PATHS[self.type_url]}"
        response = await self.http.request("POST", path, msgspec.json.encode(message), within=_POLL_SECONDS)
        if response.status == 304:
            return None
        if response.status != 200:
            raise HttpError(f"{self.http}: {path}: status {response.status}")
        try:
            return _discoveries.decode(response.body)
        except msgspec.DecodeError as error:
            raise HttpError(f"{self.http}: {path}: {error}") from error

    def __repr__(self) -> str:
        return f"<Subscription {PATHS[self.type_url]} version={self.version or 'none'}>"


class RestXdsClient:
    """Five subscriptions and the snapshot they make together."""

    def __init__(
        self,
        connect: Callable[[], HttpClient],
        node: Mapping[str, Any],
        apply: Apply,
        stats: StatsStore,
    ) -> None:
        self._node, self._apply = node, apply
        self._subscriptions = {
            type_url: Subscription(type_url, connect(), None if type_url in (CLUSTER, LISTENER) else ())
            for type_url in (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET)
        }
        self._updates = {
            CLUSTER: UpdateStats(stats, "cluster_manager.cds"),
            LISTENER: UpdateStats(stats, "listener_manager.lds"),
        }
        self._connected = stats.gauge("control_plane.connected_state")
        self._taking = asyncio.Lock()  # one answer after the other, however long each takes to apply
        self.version = ""

    async def run(self) -> None:
        """Poll for as long as the sidecar lives."""
        async with asyncio.TaskGroup() as group:
            for subscription in self._subscriptions.values():
                group.create_task(self._run_one(subscription))

    async def _run_one(self, subscription: Subscription) -> None:
        backoff = Backoff(initial=0.2, maximum=10.0)
        try:
            while True:
                try:
                    await self._poll_one(subscription)
                    backoff.reset()
                except HttpError as error:
                    self._lost(subscription, error)
                    await asyncio.sleep(backoff.next(random.random()))  # noqa: S311 - spreads retries
        finally:
            subscription.http.close()

    async def _poll_one(self, subscription: Subscription) -> None:
        answer = await subscription.next(self._node)
        asked = subscription.names
        self._connected.value = 1
        if answer is None:
            return
        known = answer.version_info == subscription.version and subscription.answered
        async with self._taking:
            if asked != subscription.names:
                return  # asked anew while another type's answer was applied
            await self._take(subscription, answer)
        if known or subscription.error is not None:  # a server that does not hold must not make us spin
            await asyncio.sleep(_REFRESH_SECONDS)

    def _lost(self, subscription: Subscription, error: HttpError) -> None:
        if self._connected.value or not self.version:
            log.warning("%s: %s", PATHS[subscription.type_url], error)
        self._connected.value = 0
        if subscription.type_url in self._updates:
            self._updates[subscription.type_url].failed()

    async def _take(self, subscription: Subscription, answer: Discovery) -> None:
        """Check one answer, ask for what it names, and apply when nothing is awaited any more."""
        type_url = subscription.type_url
        subscription.nonce, before = answer.nonce, (subscription.resources, subscription.version)
        try:
            subscription.resources = self._read(subscription, answer)
            self._follow()
            subscription.version, subscription.answered, subscription.error = answer.version_info, True, None
            await self._apply_if_complete()
        except ValueError as error:
            subscription.resources, subscription.version = before
            subscription.error = str(error)
            self._follow()
            log.warning("%s refused, the last good ones go on serving: %s", PATHS[type_url], error)
            if type_url in self._updates:
                self._updates[type_url].rejected()
            return
        if type_url in self._updates:
            self._updates[type_url].accepted(answer.version_info)

    def _read(self, subscription: Subscription, answer: Discovery) -> Mapping[str, Resource]:
        type_url = subscription.type_url
        whole = type_url in (CLUSTER, LISTENER)  # absence is deletion only here
        found = merged(
            {**EMPTY, type_url: subscription.resources},
            {type_url: answer.resources},
            {},
            version=answer.version_info,
            now=clock.wall(),
            full=whole,
        )[type_url]
        if not whole:
            found = {name: r for name, r in found.items() if name in (subscription.names or ())}
        for name, resource in found.items():
            decode(type_url, name, resource.raw)
        return found

    def _follow(self) -> None:
        """Subscribe to what the current listeners and clusters name."""
        listeners = self._typed(LISTENER)
        clusters = self._typed(CLUSTER)
        wanted = {
            ROUTE: references.route_names(listeners),
            ENDPOINT: references.endpoint_names(clusters),
            SECRET: references.secret_names(listeners, clusters),
        }
        for type_url, names in wanted.items():
            self._subscriptions[type_url].ask_for(tuple(sorted(names)))

    def _typed(self, type_url: str) -> list[Any]:
        resources = self._subscriptions[type_url].resources
        return [decode(type_url, name, resource.raw) for name, resource in resources.items()]

    async def _apply_if_complete(self) -> None:
        if not all(s.answered for s in self._subscriptions.values()):
            return
        resources: Resources = {t: s.resources for t, s in self._subscriptions.items()}
        resources = {**resources, CLUSTER: self._warm(resources)}
        versions = sorted({s.version for s in self._subscriptions.values() if s.version})
        applying = self._apply(resources, "/".join(versions))
        if applying is not None:
            await applying
        self.version = "/".join(versions)

    def _warm(self, resources: Resources) -> Mapping[str, Resource]:
        """The clusters that can be used: one whose endpoints never came is still warming, as in Envoy."""
        known = resources[ENDPOINT]
        return {
            cluster.name: resources[CLUSTER][cluster.name]
            for cluster in self._typed(CLUSTER)
            if references.endpoint_names([cluster]) <= known.keys()
        }

    def __repr__(self) -> str:
        return f"<RestXdsClient {', '.join(map(repr, self._subscriptions.values()))}>"
