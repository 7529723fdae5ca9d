"""The life of a routed request, top to bottom: answer here, or try hosts until one answers.

`route_request` is the whole story: direct answers; pick a cluster; attempt, and attempt again as the retry policy says;
pass the response on; map every failure to Envoy's reply. Knows no codec, no socket and no filter; time and randomness
come in through `RouterEnvironment`.
Reference: Envoy source/common/router/router.cc; reference §5, §9.2.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.deadlines import Deadline, Deadlines
from proxy.observability import response_flags as flags
from proxy.router.header_ops import apply_to_local_reply, apply_to_response
from proxy.router.outcome import outcome
from proxy.router.request_mutation import finalize, headers_of_attempt
from proxy.router.retry import DEFAULT_BUFFER_LIMIT
from proxy.router.route import ClusterTarget, DirectResponse, ForwardAction, Route
from proxy.router.stream import DownstreamStream, Headers, Pause
from proxy.router.upstream_attempt import UpstreamAttempt
from proxy.upstream.cluster import Cluster
from proxy.upstream.failure import UpstreamReset
from proxy.upstream.host import Host

_RESET = b"upstream connect error or disconnect/reset before headers. "
_OVERLOADED = ((b"x-envoy-overloaded", b"true"),)


class RouteTimeout(Exception):
    """The route timeout passed."""


class PerTryTimeout(Exception):
    """One attempt took too long."""


@dataclass(slots=True)
class RouterEnvironment:
    """What the router uses of the world. `clusters` is replaced as a whole when configuration changes."""

    clusters: Mapping[str, Cluster]
    deadlines: Deadlines
    now: Callable[[], float]
    draw: Callable[[], float]
    pause: Pause


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
    """One forwarded request and its attempts."""

    __slots__ = (
        "_action",
        "_attempt",
        "_cluster",
        "_cookies",
        "_deadline",
        "_kept",
        "_kept_size",
        "_replayable",
        "_retried",
        "_retries",
        "_started",
        "_stream",
        "_target",
        "_tried",
        "_try_deadline",
        "_uploaded",
        "_uploaded_at",
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
        self._attempt: UpstreamAttempt | None = None
        self._cookies: list[bytes] | None = None  # that a hash policy made, for the client to keep
        self._retries = 0 if action.retry is None else action.retry.num_retries
        self._retried = 0
        self._tried: list[Host] = []
        self._kept: list[bytes] = []  # body sent so far, for a further attempt
        self._kept_size = 0
        self._replayable = self._retries > 0
        self._deadline: Deadline | None = None
        self._try_deadline: Deadline | None = None
        self._uploaded = False  # the whole request was received
        self._uploaded_at = 0.0
        self._started = 0.0

    async def run(self) -> None:
        self._started = self._world.now()
        finalize(self._stream, self._action, self._target)
        try:
            while True:
                try:
                    answered = await self._try_once()
                except UpstreamReset as failure:
                    answered = not self._may_try_after(failure)
                except PerTryTimeout:
                    answered = not self._may_try_after_timeout()
                if answered:
                    return
                await self._pause_before_retry()
        except RouteTimeout:
            self._cluster.stats.upstream_rq_timeout.value += 1
            if self._attempt is not None and not self._stream.response_started:
                self._count_timeout(self._attempt)
            self._time_out("response_timeout")
        finally:
            attempt = self._attempt
            if attempt is not None and not attempt.ended:
                attempt.abandon()
            if self._deadline is not None or self._try_deadline is not None:
                self._disarm()

    # One attempt.

    async def _try_once(self) -> bool:
        """True: the stream is answered; False: the response calls for another attempt.

        Raises UpstreamReset, PerTryTimeout or RouteTimeout if the attempt ended without a response.
        """
        stream, pause = self._stream, self._world.pause
        self._attempt = None
        stream.info.upstream_attempts += 1
        host = self._pick_host()
        if host is None:
            self._cluster.stats.upstream_cx_none_healthy.value += 1
            self._reply(503, b"no healthy upstream", flags.UH, "no_healthy_upstream")
            return True
        self._tried.append(host)
        stream.info.upstream_host = host.name
        stream.info.upstream_metadata = host.upstream
        pool = self._cluster.pool(host, stream.alpn_override)
        attempt = self._attempt = UpstreamAttempt(stream.flow, host, pool)
        try:
            connection = pool.acquire(attempt)
        except UpstreamReset as overflow:
            attempt.failure = overflow
            raise
        if connection is not None:
            attempt.connection = connection  # type: ignore[assignment]  # pools of HTTP clusters hold HTTP connections
        else:
            while attempt.connection is None:
                if attempt.failure is not None:
                    raise attempt.failure
                await pause()
        self._send_request(attempt)
        response = attempt.response
        assert response is not None
        while not response.status:
            if attempt.failure is not None:
                raise attempt.failure
            if attempt.connection is not None and attempt.connection.informational:
                self._pass_informational(attempt)
            if not self._uploaded:
                self._upload(attempt)
            await pause()
        if attempt.connection is not None and attempt.connection.informational:
            self._pass_informational(attempt)
        if self._wants_another(attempt):
            return False
        await self._pass_response(attempt)
        return True

    def _pick_host(self) -> Host | None:
        policy = self._action.retry
        if self._cluster.hashes and self._action.hash_policy is not None:
            self._cookies = self._cookies or []
            self._stream.hash_key = self._action.hash_policy.key(self._stream, self._cookies)
        host = self._cluster.pick(self._stream)
        if policy is None or not policy.avoid_previous_hosts or not self._tried:
            return host
        for turned_down in range(policy.host_selection_attempts):
            if host is None or host not in self._tried:
                break
            host = self._cluster.pick(self._stream, turned_down + 1)
        return host

    def _send_request(self, attempt: UpstreamAttempt) -> None:
        stream, connection = self._stream, attempt.connection
        assert connection is not None
        info = stream.info
        info.upstream_local_address = connection.local_address
        info.upstream_peer_uri_san = connection.peer_uri_san
        if attempt.host.monitor is not None:
            attempt.host.monitor.on_connected()
        attempt.response = connection.begin(stream.method, attempt)
        complete = stream.body.complete
        chunks = stream.take_body() if stream.body.chunks else []
        if chunks and self._replayable:
            self._keep(chunks)
        if self._kept:
            chunks = list(self._kept) if self._replayable else chunks
        # Only a retry has lost some of the time.
        elapsed = self._world.now() - self._started if self._retried else 0.0
        headers = headers_of_attempt(stream, self._action, self._retried, elapsed)
        connection.send_request(stream, headers, chunks, complete)
        attempt.request_sent = True
        if complete:
            self._on_uploaded()

    def _on_uploaded(self) -> None:
        """The whole request was received: from here the timeouts count."""
        now = self._world.now()
        timeouts = self._action.timeouts
        if not self._uploaded:
            self._uploaded = True
            self._uploaded_at = now
            if timeouts.route and self._stream.upgrade is None:
                self._deadline = self._world.deadlines.arm(now + timeouts.route, self._on_route_timeout)
        if timeouts.per_try:
            self._try_deadline = self._world.deadlines.arm(now + timeouts.per_try, self._on_per_try_timeout)

    def _on_route_timeout(self) -> None:
        self._stream.flow.throw(RouteTimeout())

    def _on_per_try_timeout(self) -> None:
        self._stream.flow.throw(PerTryTimeout())

    def _upload(self, attempt: UpstreamAttempt) -> None:
        """Send on what has arrived of the request body, unless the upstream is slow."""
        stream, connection = self._stream, attempt.connection
        if connection is None:
            return
        if connection.congested:
            stream.hold_upload()
            return
        complete = stream.body.complete
        chunks = stream.take_body()
        if not chunks and not complete:
            return
        if self._replayable and chunks:
            self._keep(chunks)
        connection.send_body(stream, chunks, complete)
        if complete:
            self._on_uploaded()

    def _keep(self, chunks: list[bytes]) -> None:
        self._kept += chunks
        self._kept_size += sum(map(len, chunks))
        if self._kept_size > DEFAULT_BUFFER_LIMIT:
            self._give_up_replay()

    def _give_up_replay(self) -> None:
        """What was sent cannot be sent again: no further attempt, and no need to keep the body."""
        self._replayable = False
        self._retries = 0
        self._kept = []

    def _pass_informational(self, attempt: UpstreamAttempt) -> None:
        connection = attempt.connection
        if connection is not None and connection.informational:
            for status, headers in connection.informational:
                self._stream.send_informational(status, headers)
            connection.informational.clear()

    # The response.

    def _wants_another(self, attempt: UpstreamAttempt) -> bool:
        """Whether to drop this response and attempt again, as far as policy and budget go."""
        response, policy = attempt.response, self._action.retry
        assert response is not None
        status = response.status
        retry = policy is not None and policy.wants_response(status, response.fields)
        if not retry and self._retried:
            self._cluster.stats.upstream_rq_retry_success.value += 1
        self._cluster.stats.count_response(status)
        host = attempt.host
        if b"grpc-status" in response.fields:
            content_type = self._stream.fields.get(b"content-type")
            status = outcome(status, response.fields[b"grpc-status"], content_type)
        if status >= 500:
            host.rq_error += 1
        else:
            host.rq_success += 1
        if host.monitor is not None:
            host.monitor.on_response(status)
        if not retry or not self._may_retry():
            return False
        attempt.abandon()
        return True

    async def _pass_response(self, attempt: UpstreamAttempt) -> None:
        stream, response, action = self._stream, attempt.response, self._action
        assert response is not None
        info = stream.info
        headers = response.headers
        info.response_code_details = "via_upstream"
        if self._uploaded:
            took = int((self._world.now() - self._uploaded_at) * 1000)
            info.upstream_service_time_ms = took
            if b"x-envoy-upstream-service-time" in response.fields:
                headers = [pair for pair in headers if pair[0] != b"x-envoy-upstream-service-time"]
            headers.append((b"x-envoy-upstream-service-time", b"%d" % took))
        if self._cookies:
            headers += [(b"set-cookie", cookie) for cookie in self._cookies]
        if action.attempt_count_in_response:
            headers.append((b"x-envoy-attempt-count", str(self._retried + 1).encode()))
        fields = response.fields
        if self._target.response_ops:
            fields = apply_to_response(self._target.response_ops, response.status, headers, info)
        if self._try_deadline is not None:
            self._world.deadlines.disarm(self._try_deadline)
            self._try_deadline = None
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
            if not self._uploaded:
                self._upload(attempt)
            await world.pause()

    # Failure, and what comes of it.

    def _may_retry(self) -> bool:
        """Take one retry if there is one left; notes the exhaustion otherwise."""
        stats = self._cluster.stats
        if self._retried >= self._retries or not self._replayable:
            if self._action.retry is not None:
                stats.upstream_rq_retry_limit_exceeded.value += 1
                self._stream.info.response_flags |= flags.URX
            return False
        if not self._cluster.breaker.retries.allows():
            stats.upstream_rq_retry_overflow.value += 1
            self._stream.info.response_flags |= flags.UO
            return False
        stats.upstream_rq_retry.value += 1
        self._retried += 1
        return True

    async def _pause_before_retry(self) -> None:
        """Wait the back-off; the request body goes on arriving meanwhile."""
        policy, world = self._action.retry, self._world
        assert policy is not None
        self._attempt = None
        if self._try_deadline is not None:
            world.deadlines.disarm(self._try_deadline)
            self._try_deadline = None
        until = world.now() + policy.pause_before(self._retried, world.draw())
        retries = self._cluster.breaker.retries
        retries.take()
        deadline = world.deadlines.arm(until, self._stream.flow.wake)
        try:
            while world.now() < until:
                await world.pause()
        finally:
            world.deadlines.disarm(deadline)
            retries.give_back()

    def _may_try_after(self, failure: UpstreamReset) -> bool:
        """Whether to attempt again; if not, the failure was answered."""
        attempt, stream, policy = self._attempt, self._stream, self._action.retry
        assert attempt is not None
        attempt.host.rq_error += 1
        if attempt.host.monitor is not None:
            attempt.host.monitor.on_failure(failure.reason)
        if failure.transport is not None:
            stream.info.upstream_transport_failure_reason = failure.transport.replace(" ", "_")
        if attempt.request_sent:
            self._cluster.stats.upstream_rq_rx_reset.value += 1
        text = failure.reason.text.replace(" ", "_")
        if failure.transport is not None:
            text += "|" + failure.transport.replace(" ", "_")
        if stream.response_started:
            stream.reset(failure.reason.flag, f"upstream_reset_after_response_started{{{text}}}")
            return False
        retry = policy is not None and policy.wants_reset(failure.reason, request_sent=attempt.request_sent)
        if retry and self._may_retry():
            return True
        self._fail(failure, f"upstream_reset_before_response_started{{{text}}}")
        return False

    def _fail(self, failure: UpstreamReset, details: str) -> None:
        reason = failure.reason
        if self._stream.body.chunks:
            self._stream.take_body()  # it was meant for the upstream: the connection may stay
        body = _RESET + (b"retried and the latest reset reason: " if self._retried else b"reset reason: ")
        body += reason.text.encode()  # the transport failure reason is for the log only, as in Envoy 1.40
        self._reply(reason.status, body, reason.flag, details, overloaded=reason.flag == flags.UO)

    def _may_try_after_timeout(self) -> bool:
        attempt, policy = self._attempt, self._action.retry
        self._cluster.stats.upstream_rq_per_try_timeout.value += 1
        if attempt is not None:
            self._count_timeout(attempt)
            attempt.abandon()
        retry = policy is not None and policy.wants_per_try_timeout() and not self._stream.response_started
        if retry and self._may_retry():
            return True
        self._time_out("upstream_per_try_timeout")
        return False

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
            self._reply(504, b"upstream request timeout", flags.UT, details)

    def _reply(self, status: int, body: bytes, flag: int, details: str, *, overloaded: bool = False) -> None:
        headers: Headers = list(_OVERLOADED) if overloaded else []
        if self._target.response_ops:
            apply_to_local_reply(self._target.response_ops, flag, details, headers, self._stream.info)
        self._cluster.stats.count_response(status)
        self._stream.send_local_reply(status, body, flag, details, headers)

    def _disarm(self) -> None:
        for deadline in (self._deadline, self._try_deadline):
            if deadline is not None:
                self._world.deadlines.disarm(deadline)
