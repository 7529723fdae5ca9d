"""Many deadlines, one timer: arming and disarming cost a dictionary operation, and nothing ticks when none is armed.

Deadlines of the same few milliseconds share a bucket; one timer waits for the earliest bucket. A deadline never
fires early, and at most RESOLUTION or one part in FINENESS of its delay late. Knows no event loop: it is told how to call itself back.
Invariant: however many deadlines are armed and disarmed, the buckets that stay until their time are few, because the farther
away the wider they are. (A bucket for each 5 ms of the hour that idle connections may last would be 200 MB.)
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final, Protocol

from proxy.observability import logging

log = logging.logger("main")

RESOLUTION: Final = 0.005  # seconds; Envoy's own timers have 1 ms, its timeouts are not finer in practice
FINENESS: Final = 256  # 10 ms for a delay of 3 s, 10 s for an hour
_FINENESS_BITS: Final = FINENESS.bit_length()
_SHORTEST = 0.0005  # s; a timer that fired a rounding error before its bucket would be set for no time at all, again and again


class Timer(Protocol):
    def cancel(self) -> None: ...


CallLater = Callable[[float, Callable[[], None]], Timer]


class Deadline:
    """One armed deadline; `Deadlines.disarm` takes it back."""

    __slots__ = ("action", "bucket")

    def __init__(self, action: Callable[[], None], bucket: dict[Deadline, None]) -> None:
        self.action = action
        self.bucket = bucket


class Deadlines:
    """`call_later(delay, callback)` is the loop's; `now()` a monotonic clock, and the data path's own. Seconds."""

    def __init__(self, call_later: CallLater, now: Callable[[], float]) -> None:
        self._call_later = call_later
        self.now = now
        self._buckets: dict[int, dict[Deadline, None]] = {}
        self._order: list[int] = []  # heap of bucket numbers
        self._timer: Timer | None = None
        self._timer_for = 0

    def arm(self, when: float, action: Callable[[], None]) -> Deadline:
        """Call `action` once `now() >= when`, unless disarmed before."""
        return self._put(when, when - self.now(), action)

    def after(self, delay: float, action: Callable[[], None]) -> Deadline:
        """`arm`, relative to now; seconds."""
        return self._put(self.now() + delay, delay, action)

    def _put(self, when: float, delay: float, action: Callable[[], None]) -> Deadline:
        number = int(when / RESOLUTION) + 1
        too_fine = int(delay / RESOLUTION).bit_length() - _FINENESS_BITS
        if too_fine > 0:
            number = ((number >> too_fine) + 1) << too_fine
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = {}
            heapq.heappush(self._order, number)
            if self._timer is None or number < self._timer_for:
                self._schedule()
        deadline = Deadline(action, bucket)
        bucket[deadline] = None
        return deadline

    @staticmethod
    def disarm(deadline: Deadline) -> None:
        """Take a deadline back; one that fired already is left alone."""
        deadline.bucket.pop(deadline, None)

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_for = self._order[0]
        delay = self._timer_for * RESOLUTION - self.now()
        self._timer = self._call_later(max(_SHORTEST, delay), self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        due = int(self.now() / RESOLUTION)
        while self._order and self._order[0] <= due:
            bucket = self._buckets.pop(heapq.heappop(self._order))
            while bucket:
                deadline, _ = bucket.popitem()
                try:
                    deadline.action()
                except Exception:  # one owner's failure must not cost all others their deadlines
                    log.exception("a deadline's action failed unexpectedly")
        # Buckets whose every deadline was disarmed must not wake anybody.
        while self._order and not self._buckets[self._order[0]]:
            del self._buckets[heapq.heappop(self._order)]
        if self._order and not self._is_scheduled():
            self._schedule()

    def _is_scheduled(self) -> bool:
        """Asked again after actions that may have armed new deadlines."""
        return self._timer is not None

    def close(self) -> None:
        """Forget every deadline without firing it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._buckets.clear()
        self._order.clear()

    def __repr__(self) -> str:
        return f"<Deadlines armed={sum(len(bucket) for bucket in self._buckets.values())}>"
