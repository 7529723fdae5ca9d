"""What holds for one request: its timeouts and its retry policy, of its route, its caller and its kind.

Finalizes the request on the way, because Envoy reads the headers about timeouts before the route's own changes and those
about retries after them. Pure, over the stream's own headers.
Reference: Envoy source/common/router/router.cc `Filter::decodeHeaders`; reference §5.7, §5.8, §8.3.
"""

from __future__ import annotations

from proxy.router.overrides import take_retry_policy, take_timeouts
from proxy.router.request_mutation import finalize
from proxy.router.retry import RetryPolicy
from proxy.router.route import ClusterTarget, ForwardAction
from proxy.router.stream import DownstreamStream
from proxy.router.timeouts import Timeouts


def prepare(
    stream: DownstreamStream, action: ForwardAction, target: ClusterTarget
) -> tuple[Timeouts, RetryPolicy | None]:
    """The request as every attempt sends it, and what holds for its attempts; None: nothing is retried."""
    timeouts, policy, grpc = action.timeouts, action.retry, action.grpc_timeout
    if grpc is not None:
        content_type = stream.fields.get(b"content-type")
        if content_type is not None and content_type.startswith(b"application/grpc"):
            timeouts = grpc.timeouts(stream.fields.get(b"grpc-timeout"), timeouts)
    if stream.internal:
        timeouts = take_timeouts(stream.headers, timeouts)
    if action.rewrites:
        finalize(stream, action, target)
    if stream.internal or target.steers:
        policy = take_retry_policy(stream.headers, policy)
    if policy is not None and policy.request_headers:
        headers = [(b":method", stream.method), (b":path", stream.path), *stream.headers]
        if not any(test(headers) for test in policy.request_headers):
            policy = None
    return timeouts, policy
