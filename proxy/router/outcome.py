"""What a response says of the host that gave it: its HTTP status, or for gRPC the status that its `grpc-status` stands for.

Pure. Reference: Envoy source/common/grpc/common.cc (grpcToHttpStatus), source/common/router/router.cc (onUpstreamHeaders).
"""

from __future__ import annotations

# Only whether a status is an error, and a gateway's, matters; the other codes are the client's doing.
_HTTP_STATUS = {b"2": 500, b"4": 504, b"12": 501, b"13": 500, b"14": 503, b"15": 500}


def outcome(status: int, grpc_status: bytes, content_type: bytes | None) -> int:
    """The status to judge the host by; `content_type` is the request's."""
    if content_type is None or not content_type.startswith(b"application/grpc"):
        return status
    return _HTTP_STATUS.get(grpc_status, 200)
