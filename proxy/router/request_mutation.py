"""What a route does to a request before it goes upstream: path and host rewrites, header operations, what attempts add.

Pure functions over the stream's own headers; they know no host and no connection. Invariant: what a rewrite replaced is kept
in a header of its own, which no client can forge.
Reference: Envoy source/common/router/config_impl.cc `finalizeRequestHeaders`, source/common/router/router.cc; reference §5.5.
"""

from __future__ import annotations

from proxy.router.route import ClusterTarget, ForwardAction
from proxy.router.stream import DownstreamStream, Headers
from proxy.router.timeouts import NO_TIMEOUTS, Timeouts, format_grpc_timeout


def finalize(stream: DownstreamStream, action: ForwardAction, target: ClusterTarget) -> None:
    """The request as every attempt sends it.

    Envoy's order: a weighted cluster's operations and host, then the route's, so that the route has the last word and header
    values name path and host as they were before they were rewritten.
    """
    headers, info = stream.headers, stream.info
    if target.host_rewrite is None:
        for ops in target.request_ops:
            ops.apply(headers, info)
    else:
        own = target.own_ops
        for ops in target.request_ops[:own]:
            ops.apply(headers, info)
        _set_host(stream, target.host_rewrite)  # without a header that tells of it, as in Envoy
        for ops in target.request_ops[own:]:
            ops.apply(headers, info)
    if target.request_ops and stream.body_framed:
        # The operations may have changed how the body is announced.
        stream.body_chunked = not any(name == b"content-length" for name, _ in headers)
    if action.host_rewrite is not None:
        _rewrite_host(stream, action.host_rewrite, append_forwarded_host=action.append_forwarded_host)
    if action.rewrite_path is not None:
        info.original_path = stream.path
        _set(stream, b"x-envoy-original-path", stream.path)
        stream.path = info.path = action.rewrite_path(stream.path)


def _rewrite_host(stream: DownstreamStream, host: bytes, *, append_forwarded_host: bool) -> None:
    if append_forwarded_host:
        before = [value for name, value in stream.headers if name == b"x-forwarded-host"]
        last = before[-1].rpartition(b",")[2].strip() if before else None
        if last != stream.authority:  # named already by the hop before
            _set(stream, b"x-forwarded-host", b",".join([*before, stream.authority]))
    _set(stream, b"x-envoy-original-host", stream.authority)
    _set_host(stream, host)


def _set_host(stream: DownstreamStream, host: bytes) -> None:
    stream.authority = stream.info.authority = host
    stream.headers[:] = [(b"host", host) if pair[0] == b"host" else pair for pair in stream.headers]


def _set(stream: DownstreamStream, name: bytes, value: bytes) -> None:
    stream.headers[:] = [pair for pair in stream.headers if pair[0] != name]
    stream.headers.append((name, value))


def headers_of_attempt(stream: DownstreamStream, timeouts: Timeouts, attempt: int, elapsed: float) -> Headers:
    """The finalized headers with what differs from try to try.

    `attempt` counts from 1; 0: it is not told. `elapsed` s passed since the request was complete.
    """
    headers = stream.headers
    if timeouts is not NO_TIMEOUTS:
        headers = _with_timeouts(headers, timeouts, timeouts.of_attempt(elapsed))
    if attempt:
        if b"x-envoy-attempt-count" in stream.fields:
            headers = [pair for pair in headers if pair[0] != b"x-envoy-attempt-count"]
        number = b"%d" % attempt if attempt > 1 else b"1"
        headers = [*headers, (b"x-envoy-attempt-count", number)]
    return headers


def _with_timeouts(headers: Headers, timeouts: Timeouts, expected: float) -> Headers:
    """What an earlier hop expected is replaced; only a trusted one's gets here at all."""
    kept = [pair for pair in headers if pair[0] != b"x-envoy-expected-rq-timeout-ms"]
    if expected:
        if timeouts.grpc:
            kept = [pair for pair in kept if pair[0] != b"grpc-timeout"]
        kept.append((b"x-envoy-expected-rq-timeout-ms", b"%d" % (expected * 1000)))
        if timeouts.grpc:
            kept.append((b"grpc-timeout", format_grpc_timeout(expected)))
    return kept
