"""When to push: once changes have paused, but not later than a limit after the first of them, and one push after another.

Istio waits 100 ms; one machine's mesh is small and its user is watching, so 15 ms here.
Reference: istio's pilot/pkg/xds/discovery.go (debounce).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

QUIET_SECONDS = 0.015
LIMIT_SECONDS = 1.0


class Debounce:
    """Calls `act` after `poke`s have paused; for those that come while it acts, once more when it has."""

    def __init__(
        self, act: Callable[[], Awaitable[None]], quiet: float = QUIET_SECONDS, limit: float = LIMIT_SECONDS
    ) -> None:
        self._act, self._quiet, self._limit = act, quiet, limit
        self._timer: asyncio.TimerHandle | None = None
        self._latest = 0.0
        self._acting: asyncio.Task[None] | None = None
        self._due = False  # again, as soon as it has acted

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
        if self._acting is None:
            self._acting = asyncio.create_task(self._run(), name="push")
        else:
            self._due = True

    async def _run(self) -> None:
        try:
            await self._act()
        finally:
            self._acting = None
            if self._due:
                self._due = False
                self._fire()

    def cancel(self) -> None:
        """What it does ends at its next pause, what it was to do is forgotten."""
        self._due = False
        if self._acting is not None:
            self._acting.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
