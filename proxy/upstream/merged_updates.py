"""Tells load balancing of hosts whose health changed: at once after a quiet time, else bundled at the end of a window.

Envoy does so to spare its workers; a host ejected or let back in shortly after another keeps or lacks its traffic that much longer.
Each priority has its window. Reference: Envoy source/common/upstream/cluster_manager_impl.cc (scheduleUpdate),
`common_lb_config.update_merge_window`.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.deadlines import Deadline, Deadlines

DEFAULT_WINDOW = 1.0  # s


class MergedUpdates:
    """`apply` takes over everything that has changed. `window` in s; 0: every change at once."""

    def __init__(self, deadlines: Deadlines, window: float, apply: Callable[[], None]) -> None:
        self._deadlines = deadlines
        self._window = window
        self._apply = apply
        self._last: dict[int, float] = {}  # when each priority was last told of
        self._pending: dict[int, Deadline] = {}

    def changed(self, priority: int) -> None:
        """A host of this priority became available or unavailable."""
        now = self._deadlines.now()
        last = self._last.get(priority)
        if last is None or now - last >= self._window:
            self.applied(priority)
            self._apply()
        elif priority not in self._pending:
            self._pending[priority] = self._deadlines.arm(now + self._window, lambda: self._end(priority))

    def applied(self, priority: int) -> None:
        """Everything is known at this moment, for another reason: hosts came or went."""
        self._last[priority] = self._deadlines.now()
        pending = self._pending.pop(priority, None)
        if pending is not None:
            self._deadlines.disarm(pending)

    def _end(self, priority: int) -> None:
        self.applied(priority)
        self._apply()

    def stop(self) -> None:
        """Nobody is told any more."""
        for deadline in self._pending.values():
            self._deadlines.disarm(deadline)
        self._pending.clear()

    def __repr__(self) -> str:
        return f"<MergedUpdates pending={sorted(self._pending)}>"
