"""What several workers counted, as one sidecar's: the sums, and for what is the same in each of them, not the sum.

Pure. Invariant: merging the reports of workers that shared some work gives the stats of one that did all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from proxy.admin.host_status import HostStatus
from proxy.observability.stats import Family, Histogram, StatsStore
from proxy.workers.messages import FamilyValue, HistogramValue, StatsReport

# Each worker holds every cluster with all its hosts and judges them itself: the one that sees most, or least, is shown.
_MOST = (".membership_total", ".membership_degraded", ".ejections_active", "_open")
_LEAST = (".membership_healthy",)
_REMAINING = ".remaining_"  # `circuit_breakers.default.remaining_rq` …
# Counts of configuration, which reaches every worker.
_SAME = (".membership_change",)


def report(store: StatsStore) -> StatsReport:
    """The stats of one worker, to be sent."""
    counters, gauges, histograms = store.plain()
    return StatsReport(
        {counter.name: counter.value for counter in counters if counter.value},
        {gauge.name: gauge.value for gauge in gauges},
        {found.name: _value(found) for found in histograms if found.count},
        [_family(family) for family in store.families()],
    )


def merged(own: StatsStore, ended: StatsStore, reports: Iterable[StatsReport]) -> StatsStore:
    """The leading worker's stats, with those of workers that `ended` and of the others."""
    total = StatsStore()
    for each in (report(own), report(ended), *reports):
        add(total, each)
    # Counters that nobody touched are shown as well.
    counters, _, histograms = own.plain()
    for counter in counters:
        total.counter(counter.name)
    for histogram in histograms:
        total.histogram(histogram.name, histogram.bounds)
    return total


def keep(ended: StatsStore, last: StatsReport) -> None:
    """Remember what a worker had counted when it ended. What it had open is gone with it."""
    add(ended, StatsReport(last.counters, {}, last.histograms, last.families))


def add(total: StatsStore, more: StatsReport) -> None:
    """Add one worker's figures."""
    for name, value in more.counters.items():
        counter = total.counter(name)
        counter.value = max(counter.value, value) if name.endswith(_SAME) else counter.value + value
    known = {gauge.name for gauge in total.gauges()}
    for name, value in more.gauges.items():
        gauge = total.gauge(name)
        gauge.value = _gauge(name, gauge.value, value) if name in known else value
    for name, histogram in more.histograms.items():
        _add_histogram(total.histogram(name, histogram.bounds), histogram)
    for family in more.families:
        _add_family(total.family(family.name, family.labels, family.bounds, family.kind), family)


def _gauge(name: str, one: int, other: int) -> int:
    if name.endswith(_MOST):
        return max(one, other)
    if name.endswith(_LEAST) or _REMAINING in name:
        return min(one, other)
    return one + other


def _value(histogram: Histogram) -> HistogramValue:
    return HistogramValue(histogram.bounds, histogram.counts, histogram.sum)


def _family(family: Family) -> FamilyValue:
    return FamilyValue(
        family.name,
        family.labels,
        family.kind,
        family.bounds,
        [(labels, counter.value) for labels, counter in family.counters.items()],
        [(labels, _value(histogram)) for labels, histogram in family.histograms.items()],
    )


def _add_family(total: Family, more: FamilyValue) -> None:
    for labels, value in more.counters:
        total.counter(labels).value += value
    for labels, histogram in more.histograms:
        _add_histogram(total.histogram(labels), histogram)


def _add_histogram(total: Histogram, more: HistogramValue) -> None:
    if len(total.counts) != len(more.counts):
        return  # the metric was configured anew meanwhile
    total.counts = [one + other for one, other in zip(total.counts, more.counts, strict=True)]
    total.sum += more.sum


def merged_hosts(
    reports: Iterable[Iterable[HostStatus]], ended: Iterable[HostStatus] = ()
) -> list[HostStatus]:
    """The hosts of one cluster as every worker saw them: what it is comes from the first, ejected where anyone ejected it.

    What workers that `ended` had counted is added to those that are still there.
    """
    found: dict[str, HostStatus] = {}
    for one in reports:
        for host in one:
            before = found.get(host.name)
            found[host.name] = host if before is None else before.with_worker(host)
    for host in ended:
        if host.name in found:
            found[host.name] = found[host.name].with_worker(host)
    return list(found.values())


def keep_hosts(ended: dict[str, list[HostStatus]], last: Mapping[str, Iterable[HostStatus]]) -> None:
    """Remember what a worker had counted at hosts when it ended. What it had open is gone with it."""
    for cluster, hosts in last.items():
        kept = [host.without_gauges() for host in hosts]
        ended[cluster] = merged_hosts((ended.get(cluster, ()), kept))
