"""The clocks of one forwarded request: for all of it, for one attempt until it answers, for one attempt altogether.

They throw into the request's flow; what follows is the router's to decide. Only requests with a timeout have them.
Invariant: after `disarm` none fires. The first two start when the request has been received in full, as in Envoy.
Reference: Envoy source/common/router/router.cc (`onRequestComplete`), upstream_request.cc (`setupPerTryTimeout`).
"""

from __future__ import annotations

from proxy.deadlines import Deadline, Deadlines
from proxy.router.stream import Wakeable
from proxy.router.timeouts import Timeouts


class RouteTimeout(Exception):
    """The route timeout passed."""


class PerTryTimeout(Exception):
    """One attempt took too long to answer."""


class StreamDurationReached(Exception):
    """One attempt took too long altogether."""


class RequestTimers:
    """Deadlines are armed on `deadlines` and thrown into `flow`."""

    __slots__ = ("_attempt", "_deadlines", "_duration", "_flow", "_route", "timeouts")

    def __init__(self, timeouts: Timeouts, deadlines: Deadlines, flow: Wakeable) -> None:
        self.timeouts = timeouts
        self._deadlines = deadlines
        self._flow = flow
        self._route: Deadline | None = None
        self._attempt: Deadline | None = None
        self._duration: Deadline | None = None

    def on_request_received(self) -> None:
        """The request is complete, with an attempt under way."""
        if self.timeouts.route:
            self._route = self._deadlines.after(self.timeouts.route, self._on_route_timeout)

    def on_connected(self, *, received: bool) -> None:
        """An attempt has its connection; `received`: and the request is complete."""
        if received:
            self.on_request_sent()
        if self.timeouts.stream_duration:
            self._duration = self._deadlines.after(self.timeouts.stream_duration, self._on_stream_duration)

    def on_request_sent(self) -> None:
        """An attempt has the complete request, or would if its upstream took it."""
        if self.timeouts.per_try:
            self._attempt = self._deadlines.after(self.timeouts.per_try, self._on_per_try_timeout)

    def on_response(self) -> None:
        """The response is passed on: the time of one attempt does not count any more."""
        if self._attempt is not None:
            self._deadlines.disarm(self._attempt)
            self._attempt = None

    def on_attempt_over(self) -> None:
        """The attempt ended; another may follow."""
        self.on_response()
        if self._duration is not None:
            self._deadlines.disarm(self._duration)
            self._duration = None

    def disarm(self) -> None:
        """The request is over."""
        self.on_attempt_over()
        if self._route is not None:
            self._deadlines.disarm(self._route)
            self._route = None

    def _on_route_timeout(self) -> None:
        self._flow.throw(RouteTimeout())

    def _on_per_try_timeout(self) -> None:
        self._flow.throw(PerTryTimeout())

    def _on_stream_duration(self) -> None:
        self._flow.throw(StreamDurationReached())
