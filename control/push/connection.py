"""One connected proxy: what it should have, what it was sent, what it accepted or refused.

Decides nothing about HTTP. An `Exchange` is one subscription: a type and the names asked for, or all types at once.
Reference: Envoy xDS protocol, ACK/NACK; istio's pilot/pkg/model/proxy_status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from control.push.difference import difference
from control.push.proxy import Proxy
from control.push.snapshot import Snapshot

State = Literal["NOT SENT", "SYNCED", "STALE", "ERROR"]
Subscription = tuple[str, tuple[str, ...]]  # type URL and names; ("", ()) is the aggregated one
AGGREGATED: Subscription = ("", ())


@dataclass(slots=True)
class Exchange:
    """The last answer to one subscription and what became of it. `at` is the time of the last change, Unix seconds."""

    sent: str = ""
    acked: str = ""
    refused: str = ""
    error: str = ""
    at: float = 0.0
    # A refusal that was only presumed may have been a lost answer: after a while it is sent once more.
    again: bool = False

    def request(self, version: str, error: str | None, now: float) -> None:
        """Take note of a request that carries `version` as the one last accepted."""
        if error is not None:
            self.refused, self.error, self.at = self.sent, error, now
        elif version and version == self.sent and self.acked != version:
            self.acked, self.refused, self.error, self.at = version, "", "", now
        elif self.again:
            self.again, self.refused = False, ""
        elif version and version != self.sent and self.acked == version and self.sent:
            # Envoy's REST client says nothing about a refusal: it goes on with the version before.
            self.refused, self.error = self.sent, self.error or "the proxy went on with the version before"

    def already_has(self, version: str, now: float) -> None:
        """The proxy holds what it should have from an earlier control plane."""
        if not self.sent:
            self.sent = self.acked = version
            self.at = now

    def answer(self, version: str, now: float) -> None:
        self.sent, self.at = version, now

    @property
    def state(self) -> State:
        if not self.sent:
            return "NOT SENT"
        if self.refused and self.refused == self.sent:
            return "ERROR"
        return "SYNCED" if self.acked == self.sent else "STALE"


@dataclass(slots=True)
class TypeStatus:
    """How a proxy stands with one type; `at` is when that came to be."""

    state: State = "NOT SENT"
    at: float = 0.0
    error: str = ""


_ORDER: tuple[State, ...] = ("NOT SENT", "SYNCED", "STALE", "ERROR")


@dataclass(eq=False)
class Connection:
    """A proxy that polls. `polls` counts requests held now; `seen` is when the last one began or ended, Unix seconds."""

    proxy: Proxy
    snapshot: Snapshot
    since: float
    seen: float
    polls: int = 0
    exchanges: dict[Subscription, Exchange] = field(default_factory=dict)
    # Snapshots the next difference may start from: the one accepted last and the one sent last.
    accepted: Snapshot | None = None
    offered: Snapshot | None = None
    _waiting: dict[asyncio.Future[None], tuple[str, Sequence[str]]] = field(default_factory=dict)

    def exchange(self, type_url: str, names: Sequence[str] = ()) -> Exchange:
        return self.exchanges.setdefault((type_url, tuple(sorted(names))), Exchange())

    def replace(self, snapshot: Snapshot) -> bool:
        """Offer a new snapshot and wake the held polls it concerns; False when nothing differs."""
        if snapshot.version == self.snapshot.version:
            return False
        before, self.snapshot = self.snapshot, snapshot
        touched = difference(before, snapshot).touched if self._waiting else {}
        for waiting, (type_url, names) in self._waiting.items():
            if not waiting.done() and _concerns(touched, type_url, names):
                waiting.set_result(None)
        return True

    async def wait(self, seconds: float, type_url: str = "", names: Sequence[str] = ()) -> bool:
        """Until these resources change, all without a type; False after `seconds`."""
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[changed] = (type_url, names)
        try:
            async with asyncio.timeout(seconds):
                await changed
        except TimeoutError:
            return False
        finally:
            del self._waiting[changed]
        return True

    def status(self, type_url: str) -> TypeStatus:
        """The worst state of the type's subscriptions."""
        found = TypeStatus()
        known = self.snapshot.resources.get(type_url) or {}
        for (url, names), exchange in self.exchanges.items():
            if url not in (type_url, AGGREGATED[0]) or not known:
                continue
            if names and not any(name in known for name in names):
                continue  # a subscription to what is no more
            if _ORDER.index(exchange.state) >= _ORDER.index(found.state):
                found = TypeStatus(exchange.state, exchange.at, exchange.error)
        return found

    def __repr__(self) -> str:
        return f"<Connection {self.proxy!r} {self.snapshot.version} polls={self.polls}>"


def _concerns(touched: Mapping[str, set[str]], type_url: str, names: Sequence[str]) -> bool:
    if not type_url:
        return True
    found = touched.get(type_url)
    return found is not None and (not names or "*" in names or not found.isdisjoint(names))
