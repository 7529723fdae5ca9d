"""What comes of an attempt that failed: another attempt, or the reply that says why there is none.

Made when a first attempt fails or calls for another; a request that is simply answered never has one. Counts what a
failure means for host and cluster. Sends replies; makes no attempt itself.
Reference: Envoy source/common/router/router.cc (`onUpstreamReset`, `onPerTryTimeoutCommon`, `maybeRetryReset`,
`onUpstreamAbort`); reference §5.8, §9.2.
"""

from __future__ import annotations

from dataclasses import replace

from proxy.observability import response_flags as flags
from proxy.router import failure_reply
from proxy.router.failure_reply import FailureReply
from proxy.router.header_ops import HeaderOps, apply_to_local_reply
from proxy.router.retry import RetryPolicy
from proxy.router.retry_state import RetryState
from proxy.router.route_stats import RouteStats
from proxy.router.stream import DownstreamStream, Headers
from proxy.router.timeouts import Timeouts
from proxy.router.upstream_attempt import UpstreamAttempt
from proxy.upstream.cluster import Cluster
from proxy.upstream.failure import ResetReason, UpstreamReset

_OVERLOADED = ((b"x-envoy-overloaded", b"true"),)


class Recovery:
    """The failures of one request. The `after_…` methods say whether to attempt again; if not, the client was told.

    `policy` None: nothing is retried (any more). `retry` is there since an attempt called for another.
    """

    __slots__ = ("_cluster", "_response_ops", "_route_stats", "_sent", "_stream", "_timeouts", "retry")

    def __init__(
        self,
        stream: DownstreamStream,
        cluster: Cluster,
        response_ops: tuple[HeaderOps, ...],
        timeouts: Timeouts,
        route_stats: RouteStats | None,
    ) -> None:
        self._stream = stream
        self._cluster = cluster
        self._response_ops = response_ops
        self._timeouts = timeouts
        self._route_stats = route_stats
        self._sent = False  # some attempt sent a byte of the request
        self.retry: RetryState | None = None

    def takes_retry(self, policy: RetryPolicy | None, *, wanted: bool) -> bool:
        """Take a retry if this outcome wants one and may have one; the log tells why not."""
        if not wanted or policy is None:
            if self.retry is not None:
                self.retry.settle()
            return False
        if self.takes_hedge(policy):
            return True
        self.release()
        return False

    def takes_hedge(self, policy: RetryPolicy) -> bool:
        """Take a retry if there may be one. The attempt at hand goes on, and so does the retry it may be."""
        if self.retry is None:
            self.retry = RetryState(policy, self._cluster, self._route_stats)
        if self.retry.take():
            return True
        self._stream.info.response_flags |= self.retry.flag
        return False

    def after_reset(
        self, attempt: UpstreamAttempt, failure: UpstreamReset, policy: RetryPolicy | None, *, others: bool
    ) -> bool:
        """Pool or connection gave up. `others`: attempts that are under way still, so the client is not told yet."""
        stream, reason = self._stream, failure.reason
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
        if self.takes_retry(policy, wanted=self._wants_reset(policy, reason)):
            return True
        if others:
            self._cluster.stats.count_response(reason.status)
            return False
        if stream.body.chunks:
            stream.take_body()  # it was meant for the upstream: the connection may stay
        self.reply(failure_reply.upstream_reset(failure, retried=stream.info.upstream_attempts > 1))
        return False

    def after_last(self, failure: UpstreamReset) -> None:
        """The last of several attempts ended so; it was counted already."""
        self.reply(replace(failure_reply.upstream_reset(failure, retried=True), counted=False))

    def after_per_try_timeout(self, attempt: UpstreamAttempt, policy: RetryPolicy | None) -> bool:
        """The attempt took too long to answer."""
        self._cluster.stats.upstream_rq_per_try_timeout.value += 1
        _count_timeout(attempt)
        attempt.abandon()
        self._sent = True
        if self.takes_retry(policy, wanted=self._wants_reset(policy, ResetReason.LOCAL_RESET)):
            return True
        self._time_out(failure_reply.PER_TRY_TIMEOUT, attempting=True)
        return False

    def after_stream_duration(
        self, attempt: UpstreamAttempt, policy: RetryPolicy | None, *, request_received: bool
    ) -> bool:
        """The attempt took too long altogether."""
        stream = self._stream
        self._cluster.stats.upstream_rq_max_duration_reached.value += 1
        attempt.abandon()
        self._sent = True
        if self.takes_retry(policy, wanted=self._wants_reset(policy, ResetReason.LOCAL_RESET)):
            attempt.host.rq_error += 1
            return True
        if stream.response_started:
            stream.reset(flags.UMSDR, failure_reply.STREAM_DURATION)
        else:
            self.reply(failure_reply.stream_duration_reached(request_received=request_received))
        return False

    def on_route_timeout(self, attempt: UpstreamAttempt | None) -> None:
        """The request took too long altogether; None: between two attempts, which Envoy does not count."""
        if attempt is not None:
            self._cluster.stats.upstream_rq_timeout.value += 1
            if self._route_stats is not None:
                self._route_stats.upstream_rq_timeout.value += 1
            if not self._stream.response_started:
                _count_timeout(attempt)
        self._time_out(failure_reply.ROUTE_TIMEOUT, attempting=attempt is not None)

    def reply(self, reply: FailureReply) -> None:
        """Tell the client."""
        headers: Headers = list(_OVERLOADED) if reply.flag == flags.UO else []
        if self._response_ops:
            apply_to_local_reply(self._response_ops, reply.flag, reply.details, headers, self._stream.info)
        if reply.counted:
            self._cluster.stats.count_response(reply.status)
            if self._route_stats is not None:
                self._route_stats.count_response(reply.status)
        self._stream.send_local_reply(reply.status, reply.body, reply.flag, reply.details, headers)

    def release(self) -> None:
        """The request is over."""
        if self.retry is not None:
            self.retry.release()

    def _wants_reset(self, policy: RetryPolicy | None, reason: ResetReason) -> bool:
        started = self._stream.response_started
        return policy is not None and not started and policy.wants_reset(reason, request_sent=self._sent)

    def _time_out(self, details: str, *, attempting: bool) -> None:
        if self._stream.response_started:
            self._stream.reset(flags.UT, details)
        else:
            status = self._timeouts.timeout_status
            self.reply(failure_reply.timed_out(status, details, attempting=attempting))


def _count_timeout(attempt: UpstreamAttempt) -> None:
    host = attempt.host
    host.rq_timeout += 1
    host.rq_error += 1
    if host.monitor is not None:
        host.monitor.on_timeout()
