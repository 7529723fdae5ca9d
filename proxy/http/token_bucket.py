"""A token bucket: how many requests in which time.

Full at first, and filled continuously, as Envoy's AtomicTokenBucket: a bucket of 60 tokens a minute has one every second.
Knows no clock: the time, in s, is an argument, and never runs backwards.
Reference: Envoy source/common/common/token_bucket_impl.cc.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from contextlib import AbstractContextManager
from math import ceil

Alone = Callable[[], AbstractContextManager[None]]
"""Keeps others out who use the same bucket."""


class TokenBucket:
    """`limit` tokens at most, `rate` tokens more per s."""

    __slots__ = ("_tokens", "_when", "limit", "rate")

    def __init__(self, limit: int, rate: float, now: float) -> None:
        self.limit = limit
        self.rate = rate
        self._tokens = float(limit)
        self._when = now

    def _fill(self, now: float) -> None:
        tokens = self._tokens + (now - self._when) * self.rate
        self._tokens = tokens if tokens < self.limit else float(self.limit)
        self._when = now

    def take(self, now: float) -> bool:
        """Take one token, if there is a whole one."""
        self._fill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def remaining(self, now: float) -> int:
        """Whole tokens left."""
        self._fill(now)
        return int(self._tokens)

    def next_in(self, now: float) -> int:
        """Whole s, rounded up, until there is a token; 0 if there is one."""
        self._fill(now)
        return 0 if self._tokens >= 1 else ceil((1 - self._tokens) / self.rate)

    def __repr__(self) -> str:
        return f"<TokenBucket {self._tokens:.2f} of {self.limit}, {self.rate:g}/s>"


class SharedTokenBucket(TokenBucket):
    """A bucket that all workers of a sidecar draw from: `numbers` are its tokens and when it was filled last, 0.0 at first."""

    __slots__ = ("_alone", "_numbers")

    def __init__(
        self,
        limit: int,
        rate: float,
        now: float,
        numbers: MutableSequence[float] | memoryview[float],
        alone: Alone,
    ) -> None:
        super().__init__(limit, rate, now)
        self._numbers, self._alone = numbers, alone
        with alone():
            if not numbers[1]:
                numbers[0], numbers[1] = self._tokens, now

    def take(self, now: float) -> bool:
        with self._alone():
            now = self._read(now)
            allowed = super().take(now)
            self._numbers[0], self._numbers[1] = self._tokens, self._when
        return allowed

    def remaining(self, now: float) -> int:
        with self._alone():
            now = self._read(now)
        return super().remaining(now)

    def next_in(self, now: float) -> int:
        with self._alone():
            now = self._read(now)
        return super().next_in(now)

    def _read(self, now: float) -> float:
        """See what is in it; returns `now`, or when another worker used it if that was later."""
        self._tokens, self._when = self._numbers[0], self._numbers[1]
        return max(now, self._when)
