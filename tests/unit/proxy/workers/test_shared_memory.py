"""What workers count in memory they share. One process stands for several: each maps the memory for itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config.decode import CLUSTER, decode
from proxy.config.snapshot import Snapshot
from proxy.deadlines import Deadlines
from proxy.http.token_bucket import TokenBucket
from proxy.observability.stats import StatsStore
from proxy.upstream.circuit_breaker import Resource
from proxy.upstream.cluster_builder import ClusterParts
from proxy.upstream.cluster_manager import ClusterManager
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
    return [Resource(limit, gauge("open"), gauge("remaining"), w.counts(cluster)[2]) for w in workers]


def test_a_limit_is_that_of_all_workers_together(workers: list[SharedMemory]) -> None:
    one, other, third = resources(workers, limit=3)
    one.take()
    other.take()
    assert [r.total() for r in (one, other, third)] == [2, 2, 2]
    assert [r.count for r in (one, other, third)] == [1, 1, 0]
    third.take()
    assert not any(r.allows() for r in (one, other, third))
    assert third.open.value == 1
    one.give_back()
    assert other.allows()
    assert (one.open.value, one.remaining and one.remaining.value) == (0, 1)


def test_clusters_and_quantities_have_their_own(workers: list[SharedMemory]) -> None:
    counts = [workers[0].counts(name)[which] for name in ("a", "b") for which in range(4)]
    for i, count in enumerate(counts):
        count.add(i)
    seen = [workers[1].counts(name)[which].total() for name in ("a", "b") for which in range(4)]
    assert seen == list(range(8))


def test_what_a_worker_held_is_free_when_it_is_gone(workers: list[SharedMemory]) -> None:
    one, other, _ = resources(workers, limit=10)
    one.take()
    for _ in range(4):
        other.take()
    workers[0].forget(1)
    assert one.total() == 1
    [again] = resources([workers[1]], limit=10)
    again.take()
    assert one.total() == 2


def test_whoever_asks_first_the_others_find_it(workers: list[SharedMemory]) -> None:
    for i, worker in enumerate(workers * 3):
        for name in (f"{i}", f"{i // 2}", "all"):
            worker.counts(name)[0].add(1)
    assert workers[0].counts("all")[0].total() == WORKERS * 3


def test_without_room_each_worker_counts_for_itself(
    workers: list[SharedMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = workers[0].counts("first")[0]
    monkeypatch.setattr(shared_memory, "NAMES", 1)
    assert workers[0].counts("second") == ()
    assert workers[1].counts("third") == ()
    kept.add(5)
    assert workers[1].counts("first")[0].total() == 5


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, WORKERS - 1), st.floats(0, 3)), max_size=60))
def test_a_bucket_is_that_of_all_workers_together(takes: list[tuple[int, float]]) -> None:
    descriptor = shared_memory.create(WORKERS)
    workers = [SharedMemory(descriptor, number, WORKERS) for number in range(WORKERS)]
    now = 1000.0
    alone = TokenBucket(5, 0.7, now)
    shared = [worker.buckets("listener/chain")("", 5, 0.7, now) for worker in workers]
    for worker, later in takes:
        now += later
        assert shared[worker].take(now) == alone.take(now)
        other = shared[worker - 1]
        assert (other.remaining(now), other.next_in(now)) == (alone.remaining(now), alone.next_in(now))
    os.close(descriptor)


def test_buckets_of_other_limits_and_sizes_are_others(workers: list[SharedMemory]) -> None:
    one = workers[0].buckets("a")
    first = one("", 1, 0.1, 1000.0)
    assert first.take(1000.0)
    others = [one("x", 1, 0.1, 1000.0), one("", 2, 0.1, 1000.0), workers[1].buckets("b")("", 1, 0.1, 1000.0)]
    assert all(other.take(1000.0) for other in others)
    again = workers[2].buckets("a")("", 1, 0.1, 999.0)  # a clock that was read a moment before
    assert not again.take(999.0)
    assert again.take(1010.0)


def test_a_cluster_counts_over_all_workers(workers: list[SharedMemory]) -> None:
    breakers = [mesh(worker).clusters["app"].breaker for worker in workers[:2]]
    for quantity in ("connections", "pending", "requests", "retries"):
        one, other = (getattr(breaker, quantity) for breaker in breakers)
        one.take()
        assert other.total() == 1, quantity
        one.give_back()


def mesh(shared: SharedMemory) -> ClusterManager:
    parts = ClusterParts(
        stats=StatsStore(),
        connector=None,  # type: ignore[arg-type]  # nobody connects
        wrap=lambda _sock, _pool: None,  # type: ignore[arg-type, return-value]
        upstream_tls=lambda _: None,  # type: ignore[arg-type, return-value]
        draw=lambda: 0.0,
        deadlines=Deadlines(lambda _delay, _callback: None, lambda: 0.0),  # type: ignore[arg-type, return-value]
        shared_counts=shared.counts,
    )
    manager = ClusterManager(parts, lambda _: None)
    raw = {"@type": CLUSTER, "name": "app", "connect_timeout": "1s", "type": "STATIC"}
    manager.commit(manager.prepare({"app": decode(CLUSTER, "app", json.dumps(raw).encode())}, Snapshot()))
    return manager


WRITER = """
import sys
from proxy.observability.access_log import AccessLogFile
from proxy.observability.stats import StatsStore
from proxy.workers.shared_memory import SharedMemory

pipe, memory, number = map(int, sys.argv[1:])
log = AccessLogFile(f"/proc/self/fd/{pipe}", StatsStore(), SharedMemory(memory, number, 2).writing)
print("ready", flush=True)
sys.stdin.read(1)
for _ in range(5):
    for _ in range(10):
        log.append(str(number) * 9000 + "\\n")
    log.flush()
"""


def two_at_once(code: str, *descriptors: int) -> list[subprocess.Popen[bytes]]:
    """Processes with these descriptors that go on at one moment behind their "ready"; arguments are the descriptors and which one it is."""
    found = [
        subprocess.Popen(
            [sys.executable, "-c", code, *map(str, descriptors), str(number)],
            pass_fds=descriptors,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(2)
    ]
    for process in found:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
    for process in found:
        assert process.stdin is not None
        process.stdin.close()
    return found


def last_words(process: subprocess.Popen[bytes]) -> bytes:
    """What it still wrote, once it has ended well."""
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.read()
    assert process.wait() == 0
    return said


def test_lines_of_an_access_log_stay_whole_in_a_pipe() -> None:
    """However long they are: what is longer than PIPE_BUF goes into a pipe in several pieces."""
    memory, (reading, writing) = shared_memory.create(2), os.pipe()
    writers = two_at_once(WRITER, writing, memory)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        lines = pipe.read().splitlines()
    for writer in writers:
        last_words(writer)
    os.close(memory)
    assert sorted(lines) == ["0" * 9000] * 50 + ["1" * 9000] * 50


COUNTER = """
import sys
from proxy.config.outlier_detection import OutlierDetection
from proxy.upstream.host import Host
from proxy.upstream.outlier_monitor import SharedOutlierMonitor
from proxy.upstream.transport import RAW
from proxy.workers.shared_memory import SharedMemory

memory, number = map(int, sys.argv[1:])
reports = []
monitor = SharedOutlierMonitor(
    Host(("10.0.0.1", 80), RAW),
    OutlierDetection(consecutive_5xx=5000),
    lambda _monitor, _kind: reports.append(monitor.consecutive_5xx),
    None,
    SharedMemory(memory, number, 2).failures("cluster", "host"),
)
print("ready", flush=True)
sys.stdin.read(1)
for _ in range(5000):
    monitor.on_response(500)
print(len(reports), monitor.consecutive_5xx, flush=True)
"""


def test_of_failures_in_a_row_none_is_lost_and_one_worker_reaches_the_limit() -> None:
    memory = shared_memory.create(2)
    told = [
        [int(number) for number in last_words(counter).split()] for counter in two_at_once(COUNTER, memory)
    ]
    os.close(memory)
    assert sum(reports for reports, _ in told) == 1
    assert max(number for _, number in told) == 10_000
