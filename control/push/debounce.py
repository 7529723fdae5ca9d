"""When to push: once changes have paused, but not later than a limit after the first of them.

Istio waits 100 ms; one machine's mesh is small and its user is watching, so 15 ms here.
Reference: istio's pilot/pkg/xds/discovery.go (debounce).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

QUIET_SECONDS = 0.015
LIMIT_SECONDS = 1.0


class Debounce:
    """Calls `act` after `poke`s have paused."""

    def __init__(
        self, act: Callable[[], None], quiet: float = QUIET_SECONDS, limit: float = LIMIT_SECONDS
    ) -> None:
        self._act, self._quiet, self._limit = act, quiet, limit
        self._timer: asyncio.TimerHandle | None = None
        self._latest = 0.0

    def poke(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._timer is None:
            self._latest = now + self._limit
        else:
            self._timer.cancel()
        self._timer = loop.call_at(min(now + self._quiet, self._latest), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._act()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
