"""The clocks of one forwarded request: for all of it, for one attempt until it answers, for one attempt altogether.

They throw into the request's flow; what follows is the router's to decide. Only requests with a timeout have them. The first two share
a deadline, at which it is seen what is due: one is armed for nearly every request, and hardly one passes.
Invariant: after `disarm` none fires. The first two start when the request has been received in full, as in Envoy.
Reference: Envoy source/common/router/router.cc (`onRequestComplete`), upstream_request.cc (`setupPerTryTimeout`).
"""

from __future__ import annotations

from typing import Final

from proxy.deadlines import Deadline, Deadlines
from proxy.router.stream import Wakeable
from proxy.router.timeouts import Timeouts

_NEVER: Final = float("inf")


class RouteTimeout(Exception):
    """The route timeout passed."""


class PerTryTimeout(Exception):
    """One attempt took too long to answer."""


class StreamDurationReached(Exception):
    """One attempt took too long altogether."""


class RequestTimers:
    """Deadlines are armed on `deadlines` and thrown into `flow`."""

    __slots__ = (
        "_attempt_due",
        "_deadlines",
        "_duration",
        "_flow",
        "_look",
        "_looks_at",
        "_route_due",
        "timeouts",
    )

    def __init__(self, timeouts: Timeouts, deadlines: Deadlines, flow: Wakeable) -> None:
        self.timeouts = timeouts
        self._deadlines = deadlines
        self._flow = flow
        self._route_due = self._attempt_due = _NEVER
        self._look: Deadline | None = None
        self._looks_at = _NEVER
        self._duration: Deadline | None = None

    def on_request_received(self) -> None:
        """The request is complete, with an attempt under way."""
        timeouts = self.timeouts
        if timeouts.route:
            now = self._deadlines.now()
            self._route_due = now + timeouts.route
            self._look_by(now + (timeouts.per_try or timeouts.route))

    def on_connected(self, *, received: bool) -> None:
        """An attempt has its connection; `received`: and the request is complete."""
        if received:
            self.on_request_sent()
        if self.timeouts.stream_duration:
            self._duration = self._deadlines.after(self.timeouts.stream_duration, self._on_stream_duration)

    def on_request_sent(self) -> None:
        """An attempt has the complete request, or would if its upstream took it."""
        if self.timeouts.per_try:
            self._attempt_due = due = self._deadlines.now() + self.timeouts.per_try
            self._look_by(due)

    def on_response(self) -> None:
        """The response is passed on: the time of one attempt does not count any more."""
        self._attempt_due = _NEVER

    def on_attempt_over(self) -> None:
        """The attempt ended; another may follow."""
        self._attempt_due = _NEVER
        if self._duration is not None:
            self._deadlines.disarm(self._duration)
            self._duration = None

    def disarm(self) -> None:
        """The request is over."""
        self.on_attempt_over()
        self._route_due = self._looks_at = _NEVER
        if self._look is not None:
            self._deadlines.disarm(self._look)
            self._look = None

    def _look_by(self, when: float) -> None:
        """See what is due then, or earlier."""
        if when < self._looks_at:
            if self._look is not None:
                self._deadlines.disarm(self._look)
            self._look = self._deadlines.arm(when, self._on_look)
            self._looks_at = when

    def _on_look(self) -> None:
        now = self._deadlines.now()
        self._look, self._looks_at = None, _NEVER
        if self._route_due <= min(now, self._attempt_due):
            self._flow.throw(RouteTimeout())
            return
        late = self._attempt_due <= now
        if late:
            self._attempt_due = _NEVER
        due = min(self._route_due, self._attempt_due)
        if due < _NEVER:
            self._look_by(due)
        if late:
            self._flow.throw(PerTryTimeout())

    def _on_stream_duration(self) -> None:
        self._flow.throw(StreamDurationReached())
