"""What workers count in memory they share. One process stands for several: each maps the memory for itself."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from proxy.observability.stats import StatsStore
from proxy.upstream.circuit_breaker import Resource, SharedResource
from proxy.workers import shared_memory
from proxy.workers.shared_memory import SharedMemory

WORKERS = 3


@pytest.fixture
def workers() -> Iterator[list[SharedMemory]]:
    descriptor = shared_memory.create(WORKERS)
    yield [SharedMemory(os.dup(descriptor), number, WORKERS) for number in range(WORKERS)]
    os.close(descriptor)


def resources(workers: list[SharedMemory], limit: int, cluster: str = "a") -> list[Resource]:
    gauge = StatsStore().gauge
    return [SharedResource(w.counts(cluster)[2], limit, gauge("open"), gauge("remaining")) for w in workers]


def test_a_limit_is_that_of_all_workers_together(workers: list[SharedMemory]) -> None:
    one, other, third = resources(workers, limit=3)
    one.take()
    other.take()
    assert [r.count for r in (one, other, third)] == [2, 2, 2]
    third.count += 1  # as the pool does it
    assert not any(r.allows() for r in (one, other, third))
    assert third.open.value == 0
    one.give_back()
    assert other.allows()
    assert (one.open.value, one.remaining and one.remaining.value) == (0, 1)


def test_clusters_and_quantities_have_their_own(workers: list[SharedMemory]) -> None:
    counts = [workers[0].counts(name)[which] for name in ("a", "b") for which in range(4)]
    for i, count in enumerate(counts):
        count.get()
        count.set(i)
    seen = [workers[1].counts(name)[which].get() for name in ("a", "b") for which in range(4)]
    assert seen == list(range(8))


def test_what_a_worker_held_is_free_when_it_is_gone(workers: list[SharedMemory]) -> None:
    one, other, _ = resources(workers, limit=10)
    one.take()
    for _ in range(4):
        other.take()
    workers[0].forget(1)
    assert one.count == 1
    [again] = resources([workers[1]], limit=10)
    again.take()
    assert one.count == 2


def test_whoever_asks_first_the_others_find_it(workers: list[SharedMemory]) -> None:
    for i, worker in enumerate(workers * 3):
        for name in (f"{i}", f"{i // 2}", "all"):
            count = worker.counts(name)[0]
            count.set(count.get() + 1)
    assert workers[0].counts("all")[0].get() == WORKERS * 3


def test_without_room_each_worker_counts_for_itself(
    workers: list[SharedMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = workers[0].counts("first")[0]
    monkeypatch.setattr(shared_memory, "NAMES", 1)
    assert workers[0].counts("second") == ()
    assert workers[1].counts("third") == ()
    kept.set(kept.get() + 5)
    assert workers[1].counts("first")[0].get() == 5
