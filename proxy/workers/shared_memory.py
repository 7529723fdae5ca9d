"""What workers count together without asking each other: cells of one piece of memory, found by name, and locks.

A file without a path, mapped by every worker. A directory of digests tells where the cells of a name are; who asks for a name
first appends it, and nothing is ever taken back, so that a cell found once stays where it is. A lock is of the kernel's kind: of a
worker that is killed it is released. Invariant: all workers see the same cells under the same name.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import cast

from proxy.http.rate_limiter import MakeBucket
from proxy.http.token_bucket import SharedTokenBucket, TokenBucket
from proxy.observability import logging
from proxy.upstream.circuit_breaker import SharedCount
from proxy.upstream.outlier_monitor import Numbers, SharedFailures

log = logging.logger("upstream")

_NUMBER = 8  # bytes
_DIGEST = 16
NAMES = 32768
"""Names of each kind that there is room for. Memory is taken by those that are used only."""
BREAKER_CELLS = 4  # of each worker, by cluster
BUCKET_CELLS = 2  # by bucket
FAILURE_CELLS = 4  # by host of a cluster with outlier detection
# Offsets; where a lock is says nothing of what is there.
_DIRECTORY_LOCK, _LOG_LOCK, _BUCKET_LOCKS, _FAILURE_LOCKS = 0, 1, 2, 2 + NAMES


def create(workers: int) -> int:
    """The descriptor of new memory for so many workers."""
    descriptor = os.memfd_create("glassmesh-workers", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, _size(workers))
    return descriptor


def _size(workers: int) -> int:
    return sum(Table.size(cells) for cells in (BREAKER_CELLS * workers, BUCKET_CELLS, FAILURE_CELLS))


class SharedMemory:
    """The memory of `descriptor`, which this process keeps, as worker `number` of `workers` sees it."""

    def __init__(self, descriptor: int, number: int, workers: int) -> None:
        self.number, self.workers = number, workers
        self._descriptor = descriptor
        view = memoryview(mmap.mmap(descriptor, _size(workers)))
        breakers = Table.size(BREAKER_CELLS * workers)
        self._breakers = Table(view[:breakers], BREAKER_CELLS * workers)
        buckets = breakers + Table.size(BUCKET_CELLS)
        self._buckets = Table(view[breakers:buckets], BUCKET_CELLS)
        self._failures = Table(view[buckets:], FAILURE_CELLS)

    def counts(self, cluster: str) -> Sequence[SharedCount]:
        """What workers have under way to a cluster: BREAKER_CELLS quantities, for each a number of each worker. Empty: no room."""
        with self.locked(_DIRECTORY_LOCK):
            place = self._breakers.place(cluster)
        if place is None:
            log.warning(
                "cluster %s: each worker counts for itself, %d clusters are shared already", cluster, NAMES
            )
            return ()
        numbers, workers = self._breakers.cells(place).cast("q"), self.workers
        quantities = (numbers[i * workers : (i + 1) * workers] for i in range(BREAKER_CELLS))
        return tuple(SharedCount(quantity, self.number) for quantity in quantities)

    def failures(self, cluster: str, host: str) -> SharedFailures | None:
        """What all workers count at a host. None: no room, each counts for itself."""
        with self.locked(_DIRECTORY_LOCK):
            place = self._failures.place(f"{cluster}/{host}")
        if place is None:
            return None
        # A memoryview of numbers is as good as a list of fixed length.
        numbers = cast("Numbers", self._failures.cells(place).cast("q"))
        return SharedFailures(numbers, partial(self.locked, _FAILURE_LOCKS + place))

    def buckets(self, limit: str) -> MakeBucket:
        """Makes the token buckets of a limit of this name. A bucket whose numbers were configured anew is another one."""

        def make(name: str, size: int, rate: float, now: float) -> TokenBucket:
            key = f"{limit}/{name}/{size}/{rate!r}"
            with self.locked(_DIRECTORY_LOCK):
                place = self._buckets.place(key)
            if place is None:
                log.warning(
                    "local rate limit %s: each worker has its own, %d buckets are shared already",
                    limit,
                    NAMES,
                )
                return TokenBucket(size, rate, now)
            numbers = self._buckets.cells(place).cast("d")
            return SharedTokenBucket(size, rate, now, numbers, partial(self.locked, _BUCKET_LOCKS + place))

        return make

    def forget(self, number: int) -> None:
        """A worker ended: what it held is free."""
        with self.locked(_DIRECTORY_LOCK):
            for place in range(self._breakers.used):
                cells = self._breakers.cells(place).cast("q")
                for quantity in range(BREAKER_CELLS):
                    cells[quantity * self.workers + number] = 0

    @contextmanager
    def locked(self, lock: int) -> Iterator[None]:
        """Keep every other worker out. Not to be entered twice, and for moments only: others wait without doing anything."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, lock)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, lock)

    def writing(self) -> AbstractContextManager[None]:
        """To be held while lines of an access log are written."""
        return self.locked(_LOG_LOCK)

    def __repr__(self) -> str:
        return f"<SharedMemory worker {self.number} of {self.workers}>"


class Table:
    """Names, and `width` cells for each. The number of names, their digests, and then the cells, one after another."""

    def __init__(self, memory: memoryview, width: int) -> None:
        self._count = memory[:_NUMBER].cast("q")
        self._digests = memory[_NUMBER : _NUMBER + NAMES * _DIGEST]
        self._cells = memory[_NUMBER + NAMES * _DIGEST :]
        self._width = width * _NUMBER
        self._places: dict[bytes, int] = {}  # what of the directory was read already

    @staticmethod
    def size(width: int) -> int:
        """Bytes."""
        return _NUMBER + NAMES * (_DIGEST + width * _NUMBER)

    @property
    def used(self) -> int:
        """How many names there are."""
        return self._count[0]

    def place(self, name: str) -> int | None:
        """Where a name's cells are; None if there is no room for another name. To be called under a lock."""
        digest = hashlib.blake2b(name.encode(), digest_size=_DIGEST).digest()
        for place in range(len(self._places), self.used):
            self._places[bytes(self._digests[place * _DIGEST : (place + 1) * _DIGEST])] = place
        found = self._places.get(digest)
        if found is None and self.used < NAMES:
            found = self._places[digest] = self.used
            self._digests[found * _DIGEST : (found + 1) * _DIGEST] = digest
            self._count[0] += 1
        return found

    def cells(self, place: int) -> memoryview:
        return self._cells[place * self._width : (place + 1) * self._width]
