"""What the leading worker and the others say to each other. Values; sent by `proxy.workers.channel`.

A message with an `id` is answered by an `Answer` of the same id. Private keys are in `Certificate`, which crosses nothing but a
socket pair between processes of one sidecar.
"""

from __future__ import annotations

import msgspec

from proxy.admin.host_status import HostStatus

Labels = tuple[str, ...]


class HistogramValue(msgspec.Struct, array_like=True):
    """Counts per bucket and the sum of what was recorded; `bounds` only where they are not the metric's own."""

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float


class FamilyValue(msgspec.Struct, array_like=True):
    """One metric with labels, and the values of its series."""

    name: str
    labels: Labels
    kind: str
    bounds: tuple[float, ...] | None
    counters: list[tuple[Labels, int]]
    histograms: list[tuple[Labels, HistogramValue]]


class StatsReport(msgspec.Struct, array_like=True):
    """The stats of one worker; counters and histograms nobody touched are left out."""

    counters: dict[str, int] = {}
    gauges: dict[str, int] = {}
    histograms: dict[str, HistogramValue] = {}
    families: list[FamilyValue] = []


class Prepare(msgspec.Struct, tag=True, array_like=True):
    """Build a snapshot: resources as (name, JSON, version, when) by type, and names that are gone. Changes nothing yet."""

    id: int
    version: str
    changed: dict[str, list[tuple[str, bytes, str, float]]]
    removed: dict[str, list[str]]


class Listen(msgspec.Struct, tag=True, array_like=True):
    """The listening socket of an address comes on the descriptor socket."""

    host: str
    port: int


class Commit(msgspec.Struct, tag=True, array_like=True):
    """Make current what was prepared last."""

    id: int


class Certificate(msgspec.Struct, tag=True, array_like=True):
    """A secret with a key."""

    name: str
    chain_pem: str
    private_key_pem: str
    version: str

    def __repr__(self) -> str:
        return f"Certificate(name={self.name!r})"


class Roots(msgspec.Struct, tag=True, array_like=True):
    """A secret of trusted roots."""

    name: str
    trusted_ca_pem: str
    version: str


class Ask(msgspec.Struct, tag=True, array_like=True):
    """How is it going? `hosts`: with those of every cluster."""

    id: int
    hosts: bool = False


class Levels(msgspec.Struct, tag=True, array_like=True):
    """Log levels by component."""

    levels: dict[str, str]


class Drain(msgspec.Struct, tag=True, array_like=True):
    """Tell clients to close; with `stop`, accept no more."""

    inbound_only: bool
    stop: bool


class Finish(msgspec.Struct, tag=True, array_like=True):
    """Accept no more, and answer when nothing is in flight or the time (s) is over."""

    id: int
    within: float


class ResetCounters(msgspec.Struct, tag=True, array_like=True):
    """Admin `/reset_counters`."""


class Quit(msgspec.Struct, tag=True, array_like=True):
    """Break everything off, write what is buffered, and end."""


class Ejected(msgspec.Struct, tag=True, array_like=True):
    """Outlier detection of the worker that says it ejected a cluster's host. Said both ways."""

    cluster: str
    host: str


class Answer(msgspec.Struct, tag=True, array_like=True):
    """To a message with this id. `error`: why not. A worker that fails tells its last figures with id 0."""

    id: int
    error: str | None = None
    stats: StatsReport | None = None
    hosts: dict[str, list[HostStatus]] = {}
    memory: int = 0
    """Bytes; shared pages count in part."""


Order = (
    Prepare
    | Listen
    | Commit
    | Certificate
    | Roots
    | Ask
    | Levels
    | Drain
    | Finish
    | ResetCounters
    | Ejected
    | Quit
)
"""What the leader says."""
News = Answer | Ejected
"""What the others say."""
