"""How long to wait before the next attempt: doubling, with full jitter.

Pure: randomness is an argument. Reference: Envoy source/common/common/backoff_strategy.cc.
"""

from __future__ import annotations


class Backoff:
    """Waits grow from `initial` to `maximum` seconds; `reset` after a success."""

    def __init__(self, initial: float, maximum: float) -> None:
        self._initial, self._maximum = initial, maximum
        self._current = initial

    def next(self, randomness: float) -> float:
        """Seconds to wait now; `randomness` is in 0..1. At least half of the current step, so that none is zero."""
        current = self._current
        self._current = min(current * 2, self._maximum)
        return current * (0.5 + randomness / 2)

    def reset(self) -> None:
        self._current = self._initial

    def __repr__(self) -> str:
        return f"<Backoff {self._current:g} s>"
