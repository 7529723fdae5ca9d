"""Merging what several workers counted is as if one had done all of it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.admin.host_status import COUNTERS, GAUGES, HostStatus
from proxy.observability import prometheus
from proxy.observability.stats import StatsStore
from proxy.workers import merging
from proxy.workers.messages import StatsReport

WORKERS = 3
names = st.sampled_from(
    ["http.in.downstream_rq_total", "cluster.a.upstream_rq_200", "cluster.b.upstream_cx_total"]
)
labels = st.tuples(st.sampled_from(["source", "destination"]), st.sampled_from(["200", "503"]))
values = st.integers(1, 700_000)
steps = st.tuples(
    st.integers(0, WORKERS - 1),
    st.one_of(
        st.tuples(st.just("counter"), names, values),
        st.tuples(st.just("gauge"), names.map(lambda name: name + "_active"), st.integers(-5, 5)),
        st.tuples(st.just("histogram"), names, values),
        st.tuples(st.just("requests_total"), labels, values),
        st.tuples(st.just("duration"), labels, values),
    ),
)


def do(store: StatsStore, kind: str, what: object, value: int) -> None:
    if kind in ("counter", "gauge"):
        getattr(store, kind)(what).value += value
    elif kind == "histogram":
        store.histogram(str(what)).record(value)
    elif kind == "requests_total":
        store.family("istio_requests_total", ("reporter", "response_code")).counter(what).value += value  # type: ignore[arg-type]
    else:
        family = store.family("duration", ("reporter", "response_code"), (1.0, 500.0, 10_000.0))
        family.histogram(what).record(value)  # type: ignore[arg-type]


def sent(store: StatsStore) -> StatsReport:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(merging.report(store)), type=StatsReport)


def shown(store: StatsStore) -> list[str]:
    return sorted(prometheus.exposition(store).splitlines())


@given(st.lists(steps, max_size=40), st.sets(st.integers(1, WORKERS - 1)))
def test_merging_is_as_if_one_had_done_it_all(
    work: list[tuple[int, tuple[str, object, int]]], dead: set[int]
) -> None:
    alone, stores = StatsStore(), [StatsStore() for _ in range(WORKERS)]
    for worker, (kind, what, value) in work:
        if kind == "gauge" and worker in dead:
            continue  # what a worker had open is gone with it
        do(alone, kind, what, value)
        do(stores[worker], kind, what, value)
    ended = StatsStore()
    for number in dead:
        merging.keep(ended, sent(stores[number]))
    alive = [sent(store) for number, store in enumerate(stores) if number and number not in dead]
    merged = merging.merged(stores[0], ended, alive)
    used = [line for line in shown(merged) if not line.endswith(" 0")]
    assert used == [line for line in shown(alone) if not line.endswith(" 0")]


@pytest.mark.parametrize(
    ("gauge", "of_workers", "merged"),
    [
        ("cluster.a.upstream_cx_active", (2, 3), 5),
        ("cluster.a.membership_total", (4, 4), 4),
        ("cluster.a.membership_degraded", (0, 1), 1),
        ("cluster.a.membership_healthy", (4, 3), 3),
        ("cluster.a.outlier_detection.ejections_active", (1, 0), 1),
        ("cluster.a.circuit_breakers.default.cx_open", (1, 1), 1),
        ("cluster.a.circuit_breakers.default.remaining_cx", (7, 0), 0),
        ("listener.0.0.0.0_15006.downstream_cx_active", (0, 1), 1),
    ],
)
def test_gauges(gauge: str, of_workers: tuple[int, int], merged: int) -> None:
    stores = []
    for value in of_workers:
        stores.append(StatsStore())
        stores[-1].gauge(gauge).value = value
    assert merging.merged(stores[0], StatsStore(), [sent(stores[1])]).gauge(gauge).value == merged


def test_what_happens_in_every_worker_is_counted_once() -> None:
    one, other = StatsStore(), StatsStore()
    for store in (one, other):
        store.counter("cluster.a.membership_change").value = 2
    total = merging.merged(one, StatsStore(), [sent(other)])
    assert total.counter("cluster.a.membership_change").value == 2


def test_a_counter_nobody_touched_is_shown() -> None:
    store = StatsStore()
    store.counter("cluster.a.upstream_rq_total")
    store.histogram("cluster.a.upstream_rq_time")
    total = merging.merged(store, StatsStore(), ())
    assert [counter.name for counter in total.counters()] == ["cluster.a.upstream_rq_total"]
    assert [histogram.name for histogram in total.histograms()] == ["cluster.a.upstream_rq_time"]


def host(name: str, number: int = 0, *, ejected: bool = False) -> HostStatus:
    counts = dict.fromkeys((*COUNTERS, *GAUGES), number)
    return HostStatus(name, (name, 80), "HEALTHY", ejected, 1, ("r", "z", ""), 0, **counts)


def test_hosts() -> None:
    merged = merging.merged_hosts([[host("a", 1), host("b", 1)], [host("b", 4, ejected=True), host("c", 2)]])
    assert merged == [host("a", 1), host("b", 5, ejected=True), host("c", 2)]


def test_what_was_counted_at_hosts_by_a_worker_that_is_gone() -> None:
    ended: dict[str, list[HostStatus]] = {}
    merging.keep_hosts(ended, {"app": [host("a", 3, ejected=True), host("b", 1)]})
    merging.keep_hosts(ended, {"app": [host("a", 1)]})
    [merged] = merging.merged_hosts([[host("a", 10)]], ended["app"])
    assert (merged.rq_total, merged.cx_total, merged.rq_active, merged.ejected) == (14, 14, 10, False)
