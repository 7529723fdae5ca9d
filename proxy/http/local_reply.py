"""Responses made here, in Envoy's shape, for plain and for gRPC requests.

Pure: headers in, headers and body out. Reference: Envoy source/common/http/utility.cc `sendLocalReply`; reference §9.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote_from_bytes

Pair = tuple[bytes, bytes]

_GRPC_STATUS = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
_GRPC_OWN = frozenset({b"content-type", b"grpc-status", b"grpc-message"})
_GRPC_SAFE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


@dataclass(frozen=True, slots=True)
class LocalReply:
    """What a filter or the connection manager answers. `flags` are response flag bits, `details` the code details.

    `closes`: the connection ends with it. `grpc_status` is what gRPC requests get instead of the status' own. `as_is`: no
    gRPC form, and nothing that the route says of responses.
    """

    status: int
    body: bytes = b""
    flags: int = 0
    details: str = ""
    headers: Sequence[Pair] = ()
    closes: bool = False
    grpc_status: int | None = None
    as_is: bool = False


def is_grpc(content_type: bytes | None) -> bool:
    """Whether a request with this content type is gRPC."""
    return content_type is not None and (
        content_type == b"application/grpc"
        or content_type.startswith((b"application/grpc+", b"application/grpc;"))
    )


def render(reply: LocalReply, *, grpc: bool) -> tuple[int, list[Pair], bytes, int | None]:
    """Status, headers and body to send, and the gRPC status if it is a gRPC reply."""
    if grpc and not reply.as_is:
        code = _GRPC_STATUS.get(reply.status, 2) if reply.grpc_status is None else reply.grpc_status
        headers = [(b"content-type", b"application/grpc"), (b"grpc-status", b"%d" % code)]
        if reply.body:
            headers.append((b"grpc-message", quote_from_bytes(reply.body, _GRPC_SAFE).encode("ascii")))
        headers += (pair for pair in reply.headers if pair[0] not in _GRPC_OWN)
        return 200, headers, b"", code
    headers = list(reply.headers)
    if reply.body:
        names = {name for name, _ in headers}
        headers.insert(0, (b"content-length", b"%d" % len(reply.body)))
        if b"content-type" not in names:
            headers.insert(1, (b"content-type", b"text/plain"))
    return reply.status, headers, reply.body, None
