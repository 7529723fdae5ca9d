"""What the demo found out, step by step. Each fact knows what would make it untrue; `--once` exits 0 only if none is.

Pure values: nothing here measures, prints or runs anything. `wrong` gives one line per claim that does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# A count further than this many standard deviations from what the route asks for is not chance (one run in a million).
DEVIATIONS = 5.0


@dataclass(frozen=True, slots=True)
class Started:
    """The mesh came up. `seconds` from nothing until every pod was ready; `memory` is resident bytes of all of it."""

    ready: int
    pods: int
    seconds: float
    memory: int

    def wrong(self) -> Iterator[str]:
        if self.ready < self.pods or not self.pods:
            yield f"only {self.ready} of {self.pods} pods are ready"


@dataclass(frozen=True, slots=True)
class Page:
    """The page through the gateway."""

    url: str
    status: int
    milliseconds: float
    reviews_pod: str
    server: str  # the response's `server` header

    def wrong(self) -> Iterator[str]:
        if self.status != 200:
            yield f"{self.url} answered {self.status}"
        elif not self.reviews_pod.startswith("reviews-"):
            yield "the page does not say which reviews pod answered"


@dataclass(frozen=True, slots=True)
class Counter:
    """Packets that met one iptables rule of a pod, before and after the page."""

    pod: str
    rule: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Caught:
    """Which redirections the page's connections met."""

    counters: tuple[Counter, ...]

    def wrong(self) -> Iterator[str]:
        for each in self.counters:
            if each.after <= each.before:
                yield f"{each.pod}: no packet met {each.rule} ({each.before} before, {each.after} after)"


@dataclass(frozen=True, slots=True)
class Link:
    """What was captured on one link of the server's pod."""

    source: str
    destination: str
    payload: bytes
    total: int  # bytes of all payloads on the link
    marker: bool  # whether the request's marker was among them
    tls: bool  # whether all of them are TLS records


@dataclass(frozen=True, slots=True)
class Bytes:
    """The same request twice: plain between sidecar and app, encrypted between the pods."""

    marker: str
    app: Link
    wire: Link

    def wrong(self) -> Iterator[str]:
        if not self.app.marker:
            yield "the request was not seen in plain on the app's side"
        if not self.wire.total:
            yield "nothing was captured on the wire"
        elif self.wire.marker:
            yield "the request was seen in plain on the wire"
        elif not self.wire.tls:
            yield "what was captured on the wire is not TLS"


@dataclass(frozen=True, slots=True)
class Hop:
    """Who met whom under mutual TLS. Both names and `presented` come from the handshake, as the server's sidecar told its app."""

    client: str
    server: str
    presented: str  # SHA-256 of the client certificate the server saw, hex
    held: str  # SHA-256 of the certificate the client's sidecar holds, hex
    serial: str
    key: str
    hours_left: float
    expected: tuple[str, str]  # client, server

    def wrong(self) -> Iterator[str]:
        if (self.client, self.server) != self.expected:
            yield f"the hop was {self.client or 'nobody'} to {self.server or 'nobody'}, not {' to '.join(self.expected)}"
        if self.presented.lower() != self.held.lower():
            yield "the certificate seen by the server is not the one the client's sidecar holds"
        if self.hours_left <= 0:
            yield "the certificate has expired"


@dataclass(frozen=True, slots=True)
class Split:
    """Answers counted by version."""

    counts: Mapping[str, int]
    expected: Mapping[str, float]  # share of each version, 0 to 1

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def share(self, version: str) -> float:
        return self.counts.get(version, 0) / self.total if self.total else 0.0

    def wrong(self) -> Iterator[str]:
        for version in sorted({*self.counts, *self.expected}):
            share = self.expected.get(version, 0.0)
            mean, deviation = self.total * share, math.sqrt(self.total * share * (1 - share))
            count = self.counts.get(version, 0)
            if abs(count - mean) > DEVIATIONS * deviation:
                yield f"{count} of {self.total} answers came from {version}, where the route asks for {share:.0%}"


@dataclass(frozen=True, slots=True)
class Applied:
    """A route was applied. `seen_after` is how long after the command returned traffic followed it, in seconds."""

    command: str
    before: Mapping[str, int]  # answers by version before
    removed: str  # a version the route no longer names
    seen_after: float | None

    def wrong(self) -> Iterator[str]:
        if not self.before.get(self.removed):
            yield f"{self.removed} did not answer before the route was applied, so nothing shows that the route did it"
        if self.seen_after is None:
            yield "traffic did not follow the route"


Fact = Started | Page | Caught | Bytes | Hop | Applied | Split
