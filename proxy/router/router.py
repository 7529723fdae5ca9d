"""The life of a routed request, top to bottom: answer here, or try hosts until one answers.

`route_request` is the whole story: direct answers; pick a cluster; attempt, and attempt again as the retry policy says;
pass the response on; tell the client what failed. Knows no codec, no socket and no filter; time and randomness come in
through `RouterEnvironment`. Whether to retry is decided in `retry` and `retry_state`, the words of a failure in
`failure_reply`, the clocks run in `request_timers`; copies of the request live in `mirror`.
Reference: Envoy source/common/router/router.cc; reference §5, §9.2.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from proxy.observability import response_flags as flags
from proxy.router import failure_reply, mirror
from proxy.router.environment import RouterEnvironment
from proxy.router.failure_reply import FailureReply
from proxy.router.header_ops import apply_to_local_reply, apply_to_response
from proxy.router.outcome import outcome
from proxy.router.overrides import take_retry_policy, take_timeouts
from proxy.router.request_buffer import RequestBuffer
from proxy.router.request_mutation import finalize, headers_of_attempt
from proxy.router.request_timers import PerTryTimeout, RequestTimers, RouteTimeout, StreamDurationReached
from proxy.router.retry_state import RetryState
from proxy.router.route import ClusterTarget, DirectResponse, ForwardAction, Route
from proxy.router.stream import DownstreamStream, Headers
from proxy.router.timeouts import NO_TIMEOUTS
from proxy.router.upstream_attempt import UpstreamAttempt
from proxy.upstream.cluster import Cluster
from proxy.upstream.failure import ResetReason, UpstreamReset
from proxy.upstream.host import Host
from proxy.upstream.lb.retry_priority import PreviousPriorities

_OVERLOADED = ((b"x-envoy-overloaded", b"true"),)


class BufferExceeded(Exception):
    """Between two attempts more of the body came than may be kept."""


def route_request(
    stream: DownstreamStream, route: Route | None, world: RouterEnvironment
) -> Coroutine[Any, Any, None] | None:
    """Answer the stream: at once (None), or by the coroutine returned, which must be awaited.

    Exceptions thrown into the coroutine (a lost client) pass through, resources released.
    """
    if route is None:
        stream.send_local_reply(404, b"", flags.NR, "route_not_found")
        return None
    stream.info.route_name = route.name or None
    action = route.action
    if isinstance(action, DirectResponse):
        _answer_directly(stream, action)
        return None
    target = stream.target or action.pick(world.draw())
    cluster = world.clusters.get(target.cluster)
    if cluster is None:
        added: Headers = []
        if target.response_ops:
            apply_to_local_reply(target.response_ops, flags.NC, "cluster_not_found", added, stream.info)
        stream.send_local_reply(action.cluster_not_found_status, b"", flags.NC, "cluster_not_found", added)
        return None
    stream.info.upstream_cluster = target.cluster
    stream.info.upstream_metadata = cluster.upstream
    return _Forwarding(stream, action, target, cluster, world).run()


def _answer_directly(stream: DownstreamStream, action: DirectResponse) -> None:
    headers: Headers = []
    if action.location is not None:
        headers.append((b"location", action.location(stream.scheme, stream.authority, stream.path)))
    if action.response_ops:
        apply_to_local_reply(action.response_ops, 0, "direct_response", headers, stream.info)
    stream.send_local_reply(action.status, action.body, 0, "direct_response", headers)


class _Forwarding:
    """One forwarded request and its attempts. What a plain request does not use stays None."""

    __slots__ = (
        "_action",
        "_attempt",
        "_buffer",
        "_cluster",
        "_cookies",
        "_mirrors",
        "_policy",
        "_priorities",
        "_received",
        "_received_at",
        "_retry",
        "_sent",
        "_started",
        "_stream",
        "_target",
        "_timeouts",
        "_timers",
        "_tried",
        "_world",
    )

    def __init__(
        self,
        stream: DownstreamStream,
        action: ForwardAction,
        target: ClusterTarget,
        cluster: Cluster,
        world: RouterEnvironment,
    ) -> None:
        self._stream = stream
        self._action = action
        self._target = target
        self._cluster = cluster
        self._world = world
        self._policy = action.retry  # None: nothing is retried (any more)
        self._timeouts = action.timeouts
        self._attempt: UpstreamAttempt | None = None
        self._tried: list[Host] = []
        policy = self._policy
        self._priorities = (
            PreviousPriorities(policy.priorities_every) if policy and policy.priorities_every else None
        )
        self._retry: RetryState | None = None  # since an attempt first called for another
        self._timers: RequestTimers | None = None
        self._buffer: RequestBuffer | None = None
        self._mirrors: mirror.Mirrors | None = None
        self._cookies: list[bytes] | None = None  # that a hash policy made, for the client to keep
        self._received = False  # the whole request
        self._received_at = 0.0
        self._sent = False  # some attempt sent a byte of it
        self._started = 0.0

    async def run(self) -> None:
        self._started = self._world.now()
        self._prepare()
        try:
            while True:
                try:
                    answered = await self._try_once()
                except UpstreamReset as failure:
                    answered = not self._may_try_after(failure)
                except PerTryTimeout:
                    answered = not self._may_try_after_timeout()
                except StreamDurationReached:
                    answered = not self._may_try_after_duration()
                if answered:
                    return
                await self._back_off()
        except RouteTimeout:
            self._on_route_timeout()
        except BufferExceeded:
            self._reply(failure_reply.BUFFER_EXCEEDED)
        finally:
            attempt = self._attempt
            if attempt is not None and not attempt.ended:
                attempt.abandon()
            if self._timers is not None:
                self._timers.disarm()
            if self._retry is not None:
                self._retry.release()
            if self._mirrors is not None and not self._received:
                self._mirrors.cancel()

    def _prepare(self) -> None:
        """What holds for this request: its timeouts, the request as it goes upstream, its retries. In Envoy's order."""
        stream, action = self._stream, self._action
        timeouts, policy = self._timeouts, self._policy
        grpc = action.grpc_timeout
        if grpc is not None and stream.fields.get(b"content-type", b"").startswith(b"application/grpc"):
            timeouts = grpc.timeouts(stream.fields.get(b"grpc-timeout"), timeouts)
        if stream.internal:
            timeouts = take_timeouts(stream.headers, timeouts)
        if timeouts is not NO_TIMEOUTS:
            self._timeouts = timeouts
            self._timers = RequestTimers(timeouts, self._world.deadlines, stream.flow)
        finalize(stream, action, self._target)
        if stream.internal or self._target.steers:
            policy = self._policy = take_retry_policy(stream.headers, policy)
        if policy is not None and policy.request_headers:
            headers = [(b":method", stream.method), (b":path", stream.path), *stream.headers]
            if not any(test(headers) for test in policy.request_headers):
                self._policy = None

    # One attempt.

    async def _try_once(self) -> bool:
        """True: the stream is answered; False: the response calls for another attempt.

        Raises UpstreamReset, PerTryTimeout, StreamDurationReached or RouteTimeout if the attempt ended without a response.
        """
        stream, pause = self._stream, self._world.pause
        stream.info.upstream_attempts += 1
        host = self._pick_host()
        if host is None:
            self._cluster.stats.upstream_cx_none_healthy.value += 1
            self._reply(failure_reply.NO_HEALTHY_UPSTREAM)
            return True
        stream.info.upstream_host = host.name
        stream.info.upstream_metadata = host.upstream
        if self._action.mirrors:
            self._start_mirrors()
        pool = self._cluster.pool(host, stream.alpn_override, stream.authority)
        attempt = self._attempt = UpstreamAttempt(stream.flow, host, pool)
        try:
            connection = pool.acquire(attempt)
        except UpstreamReset as overflow:
            attempt.failure = overflow
            raise
        if connection is not None:
            attempt.connection = connection  # type: ignore[assignment]  # pools of HTTP clusters hold HTTP connections
        else:
            await self._wait_for_connection(attempt)
        self._send_request(attempt)
        response = attempt.response
        assert response is not None
        while not response.status:
            if attempt.failure is not None:
                raise attempt.failure
            if attempt.connection is not None and attempt.connection.informational:
                self._pass_informational(attempt)
            if not self._received:
                self._upload(attempt)
            await pause()
        if attempt.connection is not None and attempt.connection.informational:
            self._pass_informational(attempt)
        if self._wants_another(attempt):
            return False
        await self._pass_response(attempt)
        return True

    def _pick_host(self) -> Host | None:
        policy = self._policy
        if self._cluster.hashes and self._action.hash_policy is not None:
            self._cookies = self._cookies or []
            self._stream.hash_key = self._action.hash_policy.key(self._stream, self._cookies)
        host = self._cluster.pick(self._stream, 0, self._priorities)
        if policy is None or not policy.avoid_previous_hosts:
            if host is not None and self._priorities is not None:
                self._priorities.attempted(host)
            return host
        for turned_down in range(policy.host_selection_attempts if self._tried else 0):
            if host is None or host not in self._tried:
                break
            host = self._cluster.pick(self._stream, turned_down + 1, self._priorities)
        if host is not None:
            self._tried.append(host)
            if self._priorities is not None:
                self._priorities.attempted(host)
        return host

    def _start_mirrors(self) -> None:
        """With the first attempt, as soon as there is a host for it. Upgraded protocols are not copied."""
        stream = self._stream
        if stream.info.upstream_attempts == 1 and stream.upgrade is None:
            headers = headers_of_attempt(stream, self._timeouts, self._attempt_number(), 0.0)
            self._mirrors = mirror.start(
                self._action.mirrors, stream, headers, self._timeouts.route, self._world
            )

    def _attempt_number(self) -> int:
        """What `x-envoy-attempt-count` says; 0: the header is not sent."""
        return self._stream.info.upstream_attempts if self._action.attempt_count else 0

    async def _wait_for_connection(self, attempt: UpstreamAttempt) -> None:
        """The request goes on arriving, and its time counts."""
        stream = self._stream
        while attempt.connection is None:
            if attempt.failure is not None:
                raise attempt.failure
            if not self._received:
                buffer = self._buffer
                if buffer is None or buffer.keeps or not buffer.full:
                    self._receive()
                else:
                    stream.hold_upload()
            await self._world.pause()

    def _send_request(self, attempt: UpstreamAttempt) -> None:
        stream, connection = self._stream, attempt.connection
        assert connection is not None
        info, body = stream.info, stream.body
        info.upstream_local_address = connection.local_address
        info.upstream_peer_uri_san = connection.peer_uri_san
        if attempt.host.monitor is not None:
            attempt.host.monitor.on_connected()
        attempt.response = connection.begin(stream.method, attempt)
        chunks: list[bytes] = []
        if not self._received:
            if body.chunks or not body.complete or self._timers is not None:
                chunks = self._receive()
            else:
                self._received = True
                self._received_at = self._world.now()
        if self._buffer is not None:
            chunks = self._buffer.take_unsent()
        # Only a retry has lost some of the time.
        elapsed = self._world.now() - self._received_at if self._retry is not None and self._received else 0.0
        attempts = info.upstream_attempts if self._action.attempt_count else 0
        headers = headers_of_attempt(stream, self._timeouts, attempts, elapsed)
        connection.send_request(stream, headers, chunks, self._received)
        attempt.request_sent = True
        if self._timers is not None:
            self._timers.on_connected(received=self._received)

    def _upload(self, attempt: UpstreamAttempt) -> None:
        """Send on what has arrived of the request body, unless the upstream is slow."""
        connection = attempt.connection
        if connection is None:
            return
        if connection.congested:
            self._stream.hold_upload()
            return
        chunks = self._receive()
        if self._buffer is not None:
            chunks = self._buffer.take_unsent()
        if chunks or self._received:
            connection.send_body(self._stream, chunks, self._received)
        if self._received and self._timers is not None:
            self._timers.on_request_sent()

    def _receive(self) -> list[bytes]:
        """Take what has arrived of the request body: for the attempt, for copies, and for further attempts."""
        stream, buffer = self._stream, self._buffer
        complete = stream.body.complete
        chunks = stream.take_body()
        if self._mirrors is not None:
            self._mirrors.send(chunks, complete, stream.request_trailers)
        if chunks:
            keeps = self._policy is not None and self._policy.num_retries > 0
            if buffer is None and (keeps or self._attempt is None or self._attempt.connection is None):
                buffer = self._buffer = RequestBuffer(keeps=keeps)
            if buffer is not None:
                buffer.add(chunks)
                if buffer.keeps and buffer.over:
                    self._give_up_retrying(buffer)
        if complete:
            self._received = True
            self._received_at = self._world.now()
            if self._timers is not None and self._attempt is not None and stream.upgrade is None:
                self._timers.on_request_received()
        return chunks

    def _give_up_retrying(self, buffer: RequestBuffer) -> None:
        """The body is too long to be sent again: no further attempt, and no need to keep it."""
        self._cluster.stats.retry_or_shadow_abandoned.value += 1
        self._policy = None
        buffer.stop_keeping()
        if self._attempt is None:
            raise BufferExceeded

    def _pass_informational(self, attempt: UpstreamAttempt) -> None:
        connection = attempt.connection
        if connection is not None and connection.informational:
            for status, headers in connection.informational:
                self._stream.send_informational(status, headers)
            connection.informational.clear()

    # The response.

    def _wants_another(self, attempt: UpstreamAttempt) -> bool:
        """Whether to drop this response and attempt again, as far as policy and budget go."""
        response, policy = attempt.response, self._policy
        assert response is not None
        status = response.status
        wanted = policy is not None and policy.wants_response(status, response.fields, response.headers)
        host = attempt.host
        if b"grpc-status" in response.fields:
            content_type = self._stream.fields.get(b"content-type")
            status = outcome(status, response.fields[b"grpc-status"], content_type)
        if host.monitor is not None:
            host.monitor.on_response(status)
        if (wanted or self._retry is not None) and self._takes_retry(wanted):
            host.rq_error += 1
            self._cluster.stats.count_retried(response.status)
            if response.complete and not response.chunks:
                attempt.end(reusable=response.reusable and self._received)
            else:
                attempt.abandon()
            return True
        self._cluster.stats.count_response(response.status)
        if status >= 500:
            host.rq_error += 1
        else:
            host.rq_success += 1
        return False

    async def _pass_response(self, attempt: UpstreamAttempt) -> None:
        stream, response, action = self._stream, attempt.response, self._action
        assert response is not None
        info = stream.info
        headers = response.headers
        info.response_code_details = "via_upstream"
        if self._received:
            took = int((self._world.now() - self._received_at) * 1000)
            info.upstream_service_time_ms = took
            if b"x-envoy-upstream-service-time" in response.fields:
                headers = [pair for pair in headers if pair[0] != b"x-envoy-upstream-service-time"]
            headers.append((b"x-envoy-upstream-service-time", b"%d" % took))
        if self._cookies:
            headers += [(b"set-cookie", cookie) for cookie in self._cookies]
        if action.attempt_count_in_response:
            headers.append((b"x-envoy-attempt-count", b"%d" % info.upstream_attempts))
        fields = response.fields
        if self._target.response_ops:
            fields = apply_to_response(self._target.response_ops, response.status, headers, info)
        if self._timers is not None:
            self._timers.on_response()
        if response.spelling is not None:
            stream.response_spelling = response.spelling
        tunnel = response.status == 101 and stream.upgrade is not None
        end = response.complete or (response.status == 101 and not tunnel)  # nobody asked for that tunnel
        stream.send_response(response.status, headers, fields, response.take(), end, response.trailers)
        if not end:
            await self._pass_body(attempt)
        if tunnel:
            # Nothing ends a tunnel but the end of its connection.
            info.response_flags |= flags.UC
            info.response_code_details = "upstream_reset_after_response_started{connection_termination}"
        attempt.end(reusable=response.reusable and response.status != 101 and stream.body.complete)
        self._cluster.stats.rq_time.record((self._world.now() - self._started) * 1000)

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
            await world.pause()

    # Failure, and what comes of it.

    def _takes_retry(self, wanted: bool) -> bool:
        """Take a retry if this outcome wants one and may have one; notes why not."""
        if not wanted:
            if self._retry is not None:
                self._retry.settle()
            return False
        if self._retry is None:
            assert self._policy is not None
            self._retry = RetryState(self._policy, self._cluster)
        if self._retry.take():
            return True
        self._stream.info.response_flags |= self._retry.flag
        return False

    def _wants_reset(self, reason: ResetReason, *, request_sent: bool) -> bool:
        policy = self._policy
        if policy is None or self._stream.response_started:
            return False
        return policy.wants_reset(reason, request_sent=request_sent)

    async def _back_off(self) -> None:
        """Wait before the next attempt; the request body goes on arriving meanwhile."""
        retry, attempt, world = self._retry, self._attempt, self._world
        assert retry is not None
        self._attempt = None
        if self._timers is not None:
            self._timers.on_attempt_over()
        if self._buffer is not None:
            self._buffer.rewind()
        response = attempt.response if attempt is not None else None
        if response is not None and retry.policy.retries_at_once(response.status):
            retry.begin(backed_off=False)
            return
        until = world.now() + retry.back_off(world.draw())
        deadline = world.deadlines.arm(until, self._stream.flow.wake)
        try:
            while world.now() < until:
                if not self._received:
                    self._receive()
                await world.pause()
        finally:
            world.deadlines.disarm(deadline)
        retry.begin(backed_off=True)

    def _may_try_after(self, failure: UpstreamReset) -> bool:
        """Whether to attempt again; if not, the failure was answered."""
        attempt, stream, reason = self._attempt, self._stream, failure.reason
        assert attempt is not None
        if attempt.host.monitor is not None and reason is not ResetReason.OVERFLOW:
            attempt.host.monitor.on_failure(reason)
        if failure.transport is not None:
            stream.info.upstream_transport_failure_reason = failure_reply.underscored(failure.transport)
        if stream.response_started:
            stream.reset(reason.flag, failure_reply.reset_details(failure, response_started=True))
            return False
        if failure.at_host:
            attempt.host.rq_error += 1
        else:
            stream.info.upstream_host, stream.info.upstream_metadata = None, self._cluster.upstream
        self._sent = self._sent or attempt.request_sent
        if self._takes_retry(self._wants_reset(reason, request_sent=self._sent)):
            return True
        if stream.body.chunks:
            stream.take_body()  # it was meant for the upstream: the connection may stay
        self._reply(failure_reply.upstream_reset(failure, retried=stream.info.upstream_attempts > 1))
        return False

    def _may_try_after_timeout(self) -> bool:
        self._cluster.stats.upstream_rq_per_try_timeout.value += 1
        attempt = self._attempt
        assert attempt is not None
        self._count_timeout(attempt)
        attempt.abandon()
        if self._takes_retry(self._wants_reset(ResetReason.LOCAL_RESET, request_sent=True)):
            return True
        self._time_out(failure_reply.PER_TRY_TIMEOUT)
        return False

    def _may_try_after_duration(self) -> bool:
        self._cluster.stats.upstream_rq_max_duration_reached.value += 1
        attempt, stream = self._attempt, self._stream
        assert attempt is not None
        attempt.abandon()
        if self._takes_retry(self._wants_reset(ResetReason.LOCAL_RESET, request_sent=True)):
            attempt.host.rq_error += 1
            return True
        if stream.response_started:
            stream.reset(flags.UMSDR, failure_reply.STREAM_DURATION)
        else:
            self._reply(failure_reply.stream_duration_reached(request_received=self._received))
        return False

    def _on_route_timeout(self) -> None:
        attempt = self._attempt
        if attempt is not None:
            self._cluster.stats.upstream_rq_timeout.value += 1
            if not self._stream.response_started:
                self._count_timeout(attempt)
        self._time_out(failure_reply.ROUTE_TIMEOUT)

    @staticmethod
    def _count_timeout(attempt: UpstreamAttempt) -> None:
        host = attempt.host
        host.rq_timeout += 1
        host.rq_error += 1
        if host.monitor is not None:
            host.monitor.on_timeout()

    def _time_out(self, details: str) -> None:
        if self._stream.response_started:
            self._stream.reset(flags.UT, details)
        else:
            attempting = self._attempt is not None
            self._reply(
                failure_reply.timed_out(self._timeouts.timeout_status, details, attempting=attempting)
            )

    def _reply(self, reply: FailureReply) -> None:
        headers: Headers = list(_OVERLOADED) if reply.flag == flags.UO else []
        if self._target.response_ops:
            apply_to_local_reply(
                self._target.response_ops, reply.flag, reply.details, headers, self._stream.info
            )
        if reply.counted:
            self._cluster.stats.count_response(reply.status)
        self._stream.send_local_reply(reply.status, reply.body, reply.flag, reply.details, headers)
