"""What a client is told when no upstream answered: status, body, response flag and details, by how the attempts ended.

The one place for the words of the router's own replies; decides nothing about retries and sends nothing.
Reference: Envoy source/common/router/router.cc (`onUpstreamReset`, `onUpstreamTimeoutAbort`, `onStreamMaxDurationReached`),
source/common/stream_info/utility.cc; reference §9.2.
"""

from __future__ import annotations

from dataclasses import dataclass

from proxy.observability import response_flags as flags
from proxy.upstream.failure import UpstreamReset

_RESET = b"upstream connect error or disconnect/reset before headers. "


@dataclass(frozen=True, slots=True)
class FailureReply:
    """`counted`: it goes into the cluster's response codes, as in Envoy where an attempt, or its absence, is to blame."""

    status: int
    body: bytes
    flag: int
    details: str
    counted: bool = True


NO_HEALTHY_UPSTREAM = FailureReply(503, b"no healthy upstream", flags.UH, "no_healthy_upstream")
BUFFER_EXCEEDED = FailureReply(
    507,
    b"exceeded request buffer limit while retrying upstream",
    0,
    "request_payload_exceeded_retry_buffer_limit",
    counted=False,
)
ROUTE_TIMEOUT = "response_timeout"
PER_TRY_TIMEOUT = "upstream_per_try_timeout"
STREAM_DURATION = "upstream_max_stream_duration_reached"


def underscored(text: str) -> str:
    """As details and logs spell it."""
    return text.replace(" ", "_")


def reset_details(failure: UpstreamReset, *, response_started: bool) -> str:
    """The response code details of a request whose last attempt was reset."""
    text = underscored(failure.reason.text)
    if failure.transport is not None:
        text += "|" + underscored(failure.transport)
    return f"upstream_reset_{'after' if response_started else 'before'}_response_started{{{text}}}"


def upstream_reset(failure: UpstreamReset, *, retried: bool) -> FailureReply:
    """The last attempt ended without a response."""
    reason = failure.reason
    body = _RESET + (b"retried and the latest reset reason: " if retried else b"reset reason: ")
    body += reason.text.encode()  # the transport failure reason is for the log only, as in Envoy 1.40
    details = reset_details(failure, response_started=False)
    return FailureReply(reason.status, body, reason.flag, details)


def timed_out(status: int, details: str, *, attempting: bool = True) -> FailureReply:
    """The time of the request, or of its last attempt, was up; `attempting`: an attempt was under way."""
    body = b"upstream request timeout" if status == 504 else b""
    return FailureReply(status, body, flags.UT, details, counted=attempting)


def stream_duration_reached(*, request_received: bool) -> FailureReply:
    """An attempt lasted longer than it may."""
    status = 504 if request_received else 408
    body = b"upstream max stream duration reached"
    return FailureReply(status, body, flags.UMSDR, STREAM_DURATION, counted=False)
