"""Stats: one handle per name, the inclusion list, histograms that add up."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from proxy.observability.stats import (
    DEFAULT_BUCKETS,
    SIDECAR_PREFIXES,
    SIDECAR_SUFFIXES,
    Histogram,
    Inclusion,
    StatsStore,
)


def test_one_name_is_one_handle() -> None:
    store = StatsStore()
    store.counter("a.b").value += 2
    assert store.counter("a.b").value == 2
    assert store.gauge("a.b") is not store.counter("a.b")


def test_what_istio_leaves_out_works_but_is_not_registered() -> None:
    store = StatsStore(Inclusion(SIDECAR_PREFIXES, SIDECAR_SUFFIXES))
    hidden = store.counter("cluster.outbound|80||x.upstream_rq_total")
    hidden.value += 1
    store.counter("cluster_manager.cds.update_success").value += 1
    store.counter("http.inbound_0.0.0.0_80.rbac.denied").value += 1
    assert [c.name for c in store.counters()] == [
        "cluster_manager.cds.update_success",
        "http.inbound_0.0.0.0_80.rbac.denied",
    ]
    assert hidden.value == 1


def test_dropping_a_scope_forgets_its_stats() -> None:
    store = StatsStore()
    store.counter("cluster.a.x").value = 1
    store.gauge("cluster.a.y").value = 1
    store.counter("cluster.ab.x").value = 1
    store.drop("cluster.a.")
    assert [c.name for c in store.counters()] == ["cluster.ab.x"]
    assert list(store.gauges()) == []


def test_reset_counters_leaves_gauges() -> None:
    store = StatsStore()
    store.counter("c").value = store.gauge("g").value = 3
    store.family("f", ("l",)).counter(("v",)).value = 4
    store.reset_counters()
    assert (store.counter("c").value, store.gauge("g").value) == (0, 3)
    assert store.family("f", ("l",)).counter(("v",)).value == 0


@given(st.lists(st.floats(min_value=0, max_value=1e8)))
def test_a_histogram_counts_every_value_once_at_its_bucket(values: list[float]) -> None:
    histogram = Histogram("h")
    for value in values:
        histogram.record(value)
    assert histogram.count == len(values)
    for i, bound in enumerate(DEFAULT_BUCKETS):
        assert sum(histogram.counts[: i + 1]) == sum(v <= bound for v in values)


@given(st.lists(st.floats(min_value=0, max_value=3_600_000), min_size=1), st.floats(min_value=0, max_value=1))
def test_a_quantile_lies_in_the_bucket_of_that_rank(values: list[float], q: float) -> None:
    histogram = Histogram("h")
    for value in values:
        histogram.record(value)
    exact = sorted(values)[max(-(-int(q * len(values) * 1e9) // 10**9), 1) - 1]
    i = bisect_left(DEFAULT_BUCKETS, exact)
    low = DEFAULT_BUCKETS[i - 2] if i >= 2 else 0
    high = DEFAULT_BUCKETS[min(i + 1, len(DEFAULT_BUCKETS) - 1)]
    assert low <= histogram.quantile(q) <= high


def test_no_records_no_quantile() -> None:
    assert Histogram("h").quantile(0.5) == 0
