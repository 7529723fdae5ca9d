"""What a route and the router do to an upstream's response before it goes to the client.

Pure: headers in, headers out. Reference: Envoy source/common/router/router.cc `onUpstreamHeaders`, config_impl.cc
`finalizeResponseHeaders`; reference §8.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.router.header_ops import apply_to_response, without
from proxy.router.message import UpstreamResponse
from proxy.router.route import ClusterTarget, ForwardAction
from proxy.router.stream import DownstreamStream, Headers

_SERVICE_TIME: Final = b"x-envoy-upstream-service-time"


def finalized(
    stream: DownstreamStream,
    action: ForwardAction,
    target: ClusterTarget,
    response: UpstreamResponse,
    service_time: float | None,
    cookies: Iterable[bytes],
) -> tuple[Headers, dict[bytes, bytes]]:
    """The headers to send, and those by name that the upstream sent or the route made of them.

    `service_time` (s) since the request was complete; None: it is not.
    """
    info, headers, fields = stream.info, response.headers, response.fields
    if service_time is not None:
        took = int(service_time * 1000)
        info.upstream_service_time_ms = took
        if _SERVICE_TIME in fields:
            headers = without(headers, fields, _SERVICE_TIME)
        fields[_SERVICE_TIME] = value = b"%d" % took
        headers.append((_SERVICE_TIME, value))
    if cookies:
        headers += [(b"set-cookie", cookie) for cookie in cookies]
    if action.attempt_count_in_response:
        headers.append((b"x-envoy-attempt-count", b"%d" % info.upstream_attempts))
    if target.response_ops:
        fields = apply_to_response(target.response_ops, response.status, headers, info)
    return headers, fields
