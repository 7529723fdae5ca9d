"""Counters, gauges and histograms by Envoy's dotted names, as plain objects whose `value` is incremented in place.

Decides which stats exist: like Istio's Envoy, a sidecar registers only the names that match its inclusion list;
any other name still gives its caller a working handle, which no page shows. Knows nothing of Prometheus or of
admin pages. Invariant: one registered name is one handle for as long as its scope lives.
Reference: Envoy "statistics", Istio pkg/bootstrap/config.go (inclusion lists).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

# Milliseconds (or bytes). Envoy's default histogram buckets, source/common/stats/histogram_impl.cc.
# All floats, because comparing numbers of one type is twice as fast.
DEFAULT_BUCKETS: tuple[float, ...] = (
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0, 60000.0,
    300000.0, 600000.0, 1800000.0, 3600000.0,
)  # fmt: skip


class Counter:
    """A number that only grows: `handle.value += 1`."""

    __slots__ = ("name", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0

    def __repr__(self) -> str:
        return f"<Counter {self.name} {self.value}>"


class Gauge:
    """A number that goes up and down; assign or increment `value`."""

    __slots__ = ("name", "value")

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = 0

    def __repr__(self) -> str:
        return f"<Gauge {self.name} {self.value}>"


class Histogram:
    """Counts of recorded values per bucket; `counts[i]` holds values <= `bounds[i]`, the last one the rest."""

    __slots__ = ("bounds", "counts", "name", "sum")

    def __init__(self, name: str, bounds: tuple[float, ...] = DEFAULT_BUCKETS) -> None:
        self.name = name
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def record(self, value: float) -> None:
        """Add one value: milliseconds for times, bytes for sizes."""
        place = 0
        for bound in self.bounds:  # most values are small
            if value <= bound:
                break
            place += 1
        self.counts[place] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, q: float) -> float:
        """The value below which a share `q` (0..1) of the records lies, interpolated inside its bucket."""
        total = self.count
        if not total:
            return 0.0
        rank, below, lower = q * total, 0, 0.0
        for count, upper in zip(self.counts, self.bounds, strict=False):
            if count and below + count >= rank:
                return lower + (upper - lower) * max(rank - below, 0.0) / count
            below, lower = below + count, upper
        return lower

    def __repr__(self) -> str:
        return f"<Histogram {self.name} n={self.count}>"


class Family:
    """One metric with labels, as Istio's own: a handle per tuple of label values, kept for the process's life."""

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        bounds: tuple[float, ...] | None = None,
        kind: str = "counter",
    ) -> None:
        self.name = name
        self.labels = labels
        self.kind = "histogram" if bounds else kind  # as Prometheus names it
        self.bounds = bounds  # None: a counter
        self.counters: dict[tuple[str, ...], Counter] = {}
        self.histograms: dict[tuple[str, ...], Histogram] = {}

    def counter(self, values: tuple[str, ...]) -> Counter:
        found = self.counters.get(values)
        if found is None:
            found = self.counters[values] = Counter(self._full_name(values))
        return found

    def histogram(self, values: tuple[str, ...]) -> Histogram:
        found = self.histograms.get(values)
        if found is None:
            bounds = self.bounds or DEFAULT_BUCKETS
            found = self.histograms[values] = Histogram(self._full_name(values), bounds)
        return found

    def _full_name(self, values: tuple[str, ...]) -> str:
        """As Envoy's text pages print an Istio metric: `istiocustom.NAME;.LABEL=.=VALUE;.…`."""
        tags = "".join(f"{k}=.={v};." for k, v in zip(self.labels, values, strict=True))
        return f"istiocustom.{self.name};.{tags}"

    def __repr__(self) -> str:
        return f"<Family {self.name} {len(self.counters) + len(self.histograms)} series>"


class StatsStore:
    """All registered stats of this process. Ask for a handle once, when config arrives, and keep it.

    `included(name)` says whether a name is registered; without it every name is.
    """

    def __init__(self, included: Callable[[str], bool] | None = None) -> None:
        self._included = included
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._families: dict[str, Family] = {}
        self._on_drop: list[Callable[[str, tuple[str, ...]], None]] = []

    def family(
        self,
        name: str,
        labels: tuple[str, ...],
        bounds: tuple[float, ...] | None = None,
        kind: str = "counter",
    ) -> Family:
        """A metric with labels: a histogram if it has `bounds`, otherwise of `kind` counter or gauge."""
        found = self._families.get(name)
        if found is None:
            found = self._families[name] = Family(name, labels, bounds, kind)
        return found

    def counter(self, name: str) -> Counter:
        found = self._counters.get(name)
        if found is None:
            found = Counter(name)
            if self._included is None or self._included(name):
                self._counters[name] = found
        return found

    def gauge(self, name: str) -> Gauge:
        found = self._gauges.get(name)
        if found is None:
            found = Gauge(name)
            if self._included is None or self._included(name):
                self._gauges[name] = found
        return found

    def histogram(self, name: str, bounds: tuple[float, ...] = DEFAULT_BUCKETS) -> Histogram:
        found = self._histograms.get(name)
        if found is None:
            found = Histogram(name, bounds)
            if self._included is None or self._included(name):
                self._histograms[name] = found
        return found

    def registers_any(self, prefix: str, rests: Sequence[str]) -> bool:
        """Whether a stat of any of these names would be on a page; `prefix` is what they begin with. May err to the yes."""
        included = self._included
        if isinstance(included, Inclusion):
            return included.may_include(prefix, rests)
        return included is None or any(included(prefix + rest) for rest in rests)

    def drop(self, prefix: str, kept: tuple[str, ...] = ()) -> None:
        """Forget every stat whose name starts with `prefix`, for example when `cluster.NAME.` goes away.

        Those that start with any of `kept` are somebody else's.
        """
        for kind in (self._counters, self._gauges, self._histograms):
            for name in [n for n in kind if n.startswith(prefix) and not n.startswith(kept)]:
                del kind[name]
        for tell in self._on_drop:
            tell(prefix, kept)

    def on_drop(self, tell: Callable[[str, tuple[str, ...]], None]) -> None:
        """Call `tell(prefix, kept)` whenever stats are dropped."""
        self._on_drop.append(tell)

    def counters(self) -> Iterator[Counter]:
        """Every counter, those of families included."""
        yield from list(self._counters.values())
        for family in self._families.values():
            yield from list(family.counters.values())

    def gauges(self) -> Iterator[Gauge]:
        return iter(list(self._gauges.values()))

    def histograms(self) -> Iterator[Histogram]:
        """Every histogram, those of families included."""
        yield from list(self._histograms.values())
        for family in self._families.values():
            yield from list(family.histograms.values())

    def plain(self) -> tuple[list[Counter], list[Gauge], list[Histogram]]:
        """The stats without labels of their own."""
        return list(self._counters.values()), list(self._gauges.values()), list(self._histograms.values())

    def families(self) -> list[Family]:
        return list(self._families.values())

    def reset_counters(self) -> None:
        """Set every registered counter to zero, as admin `/reset_counters` does."""
        for counter in self.counters():
            counter.value = 0

    def __repr__(self) -> str:
        return f"<StatsStore {len(self._counters)} counters, {len(self._gauges)} gauges, {len(self._histograms)} histograms>"


class Inclusion:
    """Names a store registers: by prefix, suffix or regular expression (found anywhere), as `stats_matcher` does."""

    def __init__(
        self,
        prefixes: Iterable[str] = (),
        suffixes: Iterable[str] = (),
        found: Iterable[Callable[[str], object]] = (),
    ) -> None:
        self._prefixes = tuple(prefixes)
        self._suffixes = tuple(suffixes)
        self._found = tuple(found)
        self._ends: dict[tuple[str, ...], bool] = {}  # whether a suffix may fit any of these

    def may_include(self, prefix: str, rests: Sequence[str]) -> bool:
        """Whether any name of `prefix` and one of `rests` may be among them: a thousand clusters are asked about at once."""
        if any(prefix.startswith(one) or one.startswith(prefix) for one in self._prefixes):
            return True
        ends = tuple(rests)
        if ends not in self._ends:
            pairs = [(rest, suffix) for rest in ends for suffix in self._suffixes]
            self._ends[ends] = any(one.endswith(other) or other.endswith(one) for one, other in pairs)
        if self._ends[ends]:
            return True
        # An expression is found in the names together if it is found in one of them, unless it looks at where a name ends.
        together = "\n".join([prefix + rest for rest in rests]) if self._found else ""
        return any(_anchored(search) or search(together) is not None for search in self._found)

    def __call__(self, name: str) -> bool:
        return (
            name.startswith(self._prefixes)
            or name.endswith(self._suffixes)
            or any(search(name) is not None for search in self._found)
        )


# Istio pkg/bootstrap/config.go: what a sidecar creates unless ProxyConfig or annotations ask for more.
SIDECAR_PREFIXES = (
    "reporter=", "cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "cluster.xds-rest", "wasm",
    "component", "istio", "control_plane",
    "local_rate_limit",  # of a kind of our own; there are some only where limits are
)  # fmt: skip
SIDECAR_SUFFIXES = ("rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied")


def _anchored(search: Callable[[str], object]) -> bool:
    """Whether an expression may look at where a text begins or ends; one that cannot be read counts as such."""
    pattern = getattr(getattr(search, "__self__", None), "pattern", None)
    return not isinstance(pattern, str) or any(mark in pattern for mark in ("^", "$", "\\A", "\\z", "\\Z"))
