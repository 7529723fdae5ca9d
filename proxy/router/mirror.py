"""Copies of a request at other clusters: sent beside it, their responses thrown away.

A mirror takes what the request's own attempt takes, head and body as they come, and is never waited for: what its upstream
does not take at once is held, and beyond LIMIT bytes the copy is given up. (Envoy 1.40 makes the client wait there.) It
lives on when the request has been answered, and dies with a request that breaks off before it was complete. It has no
coroutine: pool, connection and deadline call it. Invariant: its connection is given back exactly once, by `UpstreamAttempt`.
Reference: Envoy source/common/router/{router,shadow_writer_impl}.cc, RouteAction.RequestMirrorPolicy; reference §5.10.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.deadlines import Deadline
from proxy.router.environment import RouterEnvironment
from proxy.router.route import MirrorPolicy
from proxy.router.stream import DownstreamStream, Headers, UpstreamRequest, Wakeable
from proxy.router.upstream_attempt import UpstreamAttempt
from proxy.upstream.cluster import Cluster
from proxy.upstream.cluster_map import find
from proxy.upstream.failure import ResetReason, UpstreamReset

LIMIT = 1024 * 1024  # bytes held for a mirror that reads slowly; Envoy's buffer limit for a shadow request


class MirroredRequest(UpstreamRequest):
    """The request as the copy's connection and load balancer see it; `trailers` are set with the end of the body."""

    __slots__ = ("trailers",)

    def __init__(self, stream: DownstreamStream) -> None:
        self.method = stream.method
        self.path = stream.path
        self.authority = stream.authority
        self.body = stream.body
        self.body_framed = stream.body_framed
        self.body_chunked = stream.body_chunked
        self.original_destination = None
        self.hash_key = None  # Envoy's shadow requests have no hash policy
        self.alpn_override = stream.alpn_override
        self.trailers: Headers | None = None

    @property
    def request_trailers(self) -> Headers | None:
        return self.trailers


def start(
    policies: Iterable[MirrorPolicy],
    stream: DownstreamStream,
    headers: Headers,
    timeout: float,
    world: RouterEnvironment,
) -> Mirrors | None:
    """Begin the copies the policies call for; None: this request has none, or they are over already.

    `headers` are those of the first attempt; `timeout` (s, 0: none) counts from the end of the request.
    """
    draw = None
    begun = []
    for policy in policies:
        if policy.share < 1.0:
            draw = world.draw() if draw is None else draw  # one number decides for all policies of a request
            if draw >= policy.share:
                continue
        cluster = find(world.clusters, policy.cluster)
        if cluster is not None:
            mirror = Mirror(
                MirroredRequest(stream), _headers(headers, policy, world), timeout, cluster, world
            )
            mirror.start(complete=stream.body.complete and not stream.body.chunks)
            begun.append(mirror)
    return Mirrors(begun) if begun else None


def _headers(headers: Headers, policy: MirrorPolicy, world: RouterEnvironment) -> Headers:
    """The request's headers as Envoy's internal client sends them on."""
    before = [value for name, value in headers if name == b"x-forwarded-for"]
    copied = [pair for pair in headers if pair[0] not in (b"x-envoy-internal", b"x-forwarded-for")]
    if policy.suffix:
        copied = [(name, _shadow(value) if name == b"host" else value) for name, value in copied]
    copied.append((b"x-envoy-internal", b"true"))
    copied.append((b"x-forwarded-for", b",".join([*before, world.local_address])))
    return copied


def _shadow(host: bytes) -> bytes:
    """`host-shadow:port`."""
    name, colon, port = host.rpartition(b":")
    if not colon or not port.isdigit():
        return host + b"-shadow"
    return name + b"-shadow:" + port


class Mirrors:
    """The copies of one request, as its router feeds them."""

    __slots__ = ("_mirrors",)

    def __init__(self, mirrors: list[Mirror]) -> None:
        self._mirrors = mirrors

    def send(self, chunks: list[bytes], end: bool, trailers: Headers | None) -> None:
        """More of the request's body; `end`: that was all of it."""
        for mirror in self._mirrors:
            mirror.send(chunks, end, trailers)

    def cancel(self) -> None:
        """The request broke off before it was complete."""
        for mirror in self._mirrors:
            mirror.cancel()


class Mirror(Wakeable):
    """One copy: what its attempt wakes."""

    __slots__ = (
        "_answered",
        "_attempt",
        "_cluster",
        "_deadline",
        "_end",
        "_ended",
        "_headers",
        "_held",
        "_held_size",
        "_request",
        "_started",
        "_timeout",
        "_world",
        "done",
    )

    def __init__(
        self,
        request: MirroredRequest,
        headers: Headers,
        timeout: float,
        cluster: Cluster,
        world: RouterEnvironment,
    ) -> None:
        self._request = request
        self._headers = headers
        self._timeout = timeout
        self._cluster = cluster
        self._world = world
        self._attempt: UpstreamAttempt | None = None
        self._deadline: Deadline | None = None
        self._held: list[bytes] = []
        self._held_size = 0
        self._end = False  # nothing is to follow what is held
        self._ended = False  # and the upstream was told
        self._answered = False
        self._started = world.now()
        self.done = False

    def start(self, *, complete: bool) -> None:
        """Ask for a connection; `complete`: the request has no body."""
        cluster = self._cluster
        self._world.mirrors.add(self)
        if complete:
            self._on_request_complete()
        host = cluster.pick(self._request)
        if host is None:
            cluster.stats.upstream_cx_none_healthy.value += 1
            cluster.stats.count_response(503)
            self._finish()
            return
        pool = cluster.pool(host, self._request.alpn_override, self._request.authority)
        self._attempt = attempt = UpstreamAttempt(self, host, pool)
        try:
            connection = pool.acquire(attempt)
        except UpstreamReset as overflow:
            attempt.failure = overflow
        else:
            attempt.connection = connection  # type: ignore[assignment]  # pools of HTTP clusters hold HTTP connections
        self.wake()

    def send(self, chunks: list[bytes], end: bool, trailers: Headers | None) -> None:
        """More of the body; gives the copy up rather than hold too much of it."""
        if self.done:
            return
        if chunks:
            self._held.append(b"".join(chunks))  # chunks of two bytes would take thirty times what they hold
            self._held_size += len(self._held[-1])
        if self._held_size > LIMIT:
            self._cluster.stats.retry_or_shadow_abandoned.value += 1
            self.cancel()
            return
        if end and not self._end:
            self._request.trailers = trailers
            self._on_request_complete()
        self.wake()

    def _on_request_complete(self) -> None:
        self._end = True
        if self._timeout:
            self._deadline = self._world.deadlines.after(self._timeout, self._on_timeout)

    # What pool and connection have to say.

    def wake(self) -> None:
        attempt = self._attempt
        if self.done or attempt is None:
            return
        if attempt.failure is not None:
            self._on_failure(attempt, attempt.failure)
            return
        if attempt.connection is None:
            return
        if attempt.response is None:
            self._send_head(attempt)
        elif not attempt.connection.congested and (self._held or (self._end and not self._ended)):
            held = self._take_held()
            attempt.connection.send_body(self._request, held, self._ended)
        self._read(attempt)

    def _send_head(self, attempt: UpstreamAttempt) -> None:
        connection = attempt.connection
        assert connection is not None
        if attempt.host.monitor is not None:
            attempt.host.monitor.on_connected()
        attempt.response = connection.begin(self._request.method, attempt)
        held = self._take_held()
        connection.send_request(self._request, self._headers, held, self._ended)

    def _take_held(self) -> list[bytes]:
        held, self._held, self._held_size = self._held, [], 0
        self._ended = self._end
        return held

    def _read(self, attempt: UpstreamAttempt) -> None:
        """Throw away what was answered."""
        response = attempt.response
        if response is None or self.done:
            return
        if attempt.connection is not None:
            attempt.connection.informational.clear()
        if response.status and not self._answered:
            self._answered = True
            self._count(attempt, response.status)
        response.take()
        if response.complete:
            attempt.end(reusable=response.reusable and self._ended and response.status != 101)
            self._cluster.stats.rq_time.record((self._world.now() - self._started) * 1000)
            self._finish()

    def _count(self, attempt: UpstreamAttempt, status: int) -> None:
        host = attempt.host
        self._cluster.stats.count_response(status)
        if status >= 500:
            host.rq_error += 1
        else:
            host.rq_success += 1
        if host.monitor is not None:
            host.monitor.on_response(status)

    def _on_failure(self, attempt: UpstreamAttempt, failure: UpstreamReset) -> None:
        host = attempt.host
        if failure.reason is not ResetReason.OVERFLOW and host.monitor is not None:
            host.monitor.on_failure(failure.reason)
        if not self._answered:
            host.rq_error += 1
            self._cluster.stats.count_response(failure.reason.status)
        self._finish()

    def _on_timeout(self) -> None:
        attempt = self._attempt
        self._deadline = None
        if attempt is not None:
            self._cluster.stats.upstream_rq_timeout.value += 1
            attempt.host.rq_timeout += 1
            if not self._answered:
                attempt.host.rq_error += 1
                self._cluster.stats.count_response(504)
                if attempt.host.monitor is not None:
                    attempt.host.monitor.on_timeout()
        self.cancel()

    def cancel(self) -> None:
        """Give the copy up, wherever it stands."""
        if not self.done:
            self._finish()

    def _finish(self) -> None:
        self.done = True
        self._held = []
        self._world.mirrors.discard(self)
        if self._deadline is not None:
            self._world.deadlines.disarm(self._deadline)
            self._deadline = None
        attempt, self._attempt = self._attempt, None
        if attempt is not None and not attempt.ended:
            attempt.abandon()

    def throw(self, fault: BaseException) -> None:
        """Nothing is thrown into a mirror: it has no coroutine."""

    def __repr__(self) -> str:
        return f"<Mirror {self._cluster.name} {self._attempt or 'over'}>"
