"""A response on its way from an upstream's attempt to the client, head and body, while the request may still be arriving.

Decides when either side is held, and what is counted when the response is over; not whether it is the one to pass on, nor
what becomes of one that breaks off: that is the router's. Invariant: one response head per request, and the attempt given
back once its response is complete. Reference: Envoy source/common/router/router.cc (`onUpstreamHeaders`, `onUpstreamData`).
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from proxy.observability import response_flags as flags
from proxy.router.environment import RouterEnvironment
from proxy.router.hedging import SlowAttempts
from proxy.router.host_selection import HostSelection
from proxy.router.request_feed import RequestFeed
from proxy.router.request_timers import RequestTimers
from proxy.router.response_mutation import finalized
from proxy.router.route import ClusterTarget, ForwardAction
from proxy.router.stream import DownstreamStream
from proxy.router.upstream_attempt import UpstreamAttempt
from proxy.upstream.cluster import Cluster


class ResponsePassing:
    """The part of a forwarded request that passes its response; whoever has the attempts sets the attributes."""

    __slots__ = (
        "_action",
        "_cluster",
        "_feed",
        "_received",
        "_received_at",
        "_selection",
        "_slow",
        "_started",
        "_stream",
        "_target",
        "_timers",
        "_world",
    )

    _stream: DownstreamStream
    _action: ForwardAction
    _target: ClusterTarget
    _cluster: Cluster
    _world: RouterEnvironment
    _timers: RequestTimers | None
    _feed: RequestFeed | None
    _selection: HostSelection | None
    _slow: SlowAttempts | None
    _received: bool
    _received_at: float
    _started: float

    def _upload(self, attempt: UpstreamAttempt) -> None:
        if attempt.connection is not None and self._feed is not None:
            self._feed.send(attempt.connection)
            if self._received and self._timers is not None and not self._stream.response_started:
                self._timers.on_request_sent()

    def _pass_informational(self, attempt: UpstreamAttempt) -> None:
        connection = attempt.connection
        if connection is not None and connection.informational:
            for status, headers in connection.informational:
                self._stream.send_informational(status, headers)
            connection.informational.clear()

    def _pass_response(self, attempt: UpstreamAttempt) -> Coroutine[Any, Any, None] | None:
        """Pass on what is there; the rest by the coroutine returned, which must be awaited. None: there is no more."""
        stream, response, now = self._stream, attempt.response, self._world.now()
        assert response is not None
        if self._slow is not None:
            self._slow.abandon()
        stream.info.response_code_details = "via_upstream"
        took = now - self._received_at if self._received else None
        cookies = self._selection.cookies if self._selection is not None else ()
        headers, fields = finalized(stream, self._action, self._target, response, took, cookies)
        if self._timers is not None:
            self._timers.on_response()
        if response.spelling is not None:
            stream.response_spelling = response.spelling
        tunnel = response.status == 101 and stream.upgrade is not None
        end = response.complete or (response.status == 101 and not tunnel)  # nobody asked for that tunnel
        chunks = response.chunks if end else response.take()
        stream.send_response(response.status, headers, fields, chunks, end, response.trailers)
        if not end or tunnel:
            return self._pass_rest(attempt, ended=end, tunnel=tunnel)
        self._finish(attempt, now)
        return None

    async def _pass_rest(self, attempt: UpstreamAttempt, *, ended: bool, tunnel: bool) -> None:
        if not ended:
            await self._pass_body(attempt)
        if tunnel:
            # Nothing ends a tunnel but the end of its connection.
            info = self._stream.info
            info.response_flags |= flags.UC
            info.response_code_details = "upstream_reset_after_response_started{connection_termination}"
        self._finish(attempt, self._world.now())

    def _finish(self, attempt: UpstreamAttempt, now: float) -> None:
        response = attempt.response
        assert response is not None
        attempt.end(reusable=response.reusable and response.status != 101 and self._stream.body.complete)
        milliseconds = (now - self._started) * 1000
        self._cluster.stats.rq_time.record(milliseconds)
        if self._action.stats is not None:
            self._action.stats.record_time(milliseconds)

    async def _pass_body(self, attempt: UpstreamAttempt) -> None:
        stream, response, world = self._stream, attempt.response, self._world
        assert response is not None
        held = False
        while True:
            if not stream.congested:
                end = response.complete
                chunks = response.take()
                if chunks or end:
                    stream.send_body(chunks, end, response.trailers)
                if end:
                    return
            if attempt.failure is not None:
                raise attempt.failure
            if stream.congested != held and attempt.connection is not None:
                held = stream.congested
                attempt.connection.hold(held)
            if not self._received:
                self._upload(attempt)
            await world.pause
