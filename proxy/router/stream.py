"""What the router needs of a downstream stream, whatever carries it.

The HTTP layer implements it; the router never sees codecs, sockets or filters. Response methods keep this order:
`send_continue`*, then one `send_response`, then `send_body` until one call had `end` set; or one `send_local_reply`.
Base classes, not protocols: compiled code reads the attributes of a class it knows directly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.observability.stream_info import StreamInfo
from proxy.router.message import Headers, Message

if TYPE_CHECKING:
    from proxy.router.route import ClusterTarget

__all__ = ["DownstreamStream", "Headers", "UpstreamRequest", "Wakeable"]


class Wakeable:
    """Who drives the coroutine of this stream."""

    __slots__ = ()

    def wake(self) -> None:
        raise NotImplementedError

    def throw(self, fault: BaseException) -> None:
        raise NotImplementedError


class UpstreamRequest:
    """A request as load balancer and upstream connection see it."""

    __slots__ = (
        "alpn_override",
        "authority",
        "body",
        "body_chunked",
        "body_framed",
        "hash_key",
        "method",
        "original_destination",
        "path",
    )

    method: bytes
    path: bytes
    authority: bytes
    body: Message
    """The request as far as it has arrived."""
    body_framed: bool
    """The request announced a body."""
    body_chunked: bool
    original_destination: tuple[str, int] | None
    hash_key: int | None
    """Of the request, for consistent hashing; set by the router where the cluster wants one."""
    alpn_override: tuple[str, ...] | None
    """ALPN list for the upstream connection, set by a filter."""

    @property
    def request_trailers(self) -> Headers | None:
        """Those to send on; None also while the body is incomplete, or where trailers are not enabled."""
        raise NotImplementedError


class DownstreamStream(UpstreamRequest):
    """One request and the way back. Header lists are the router's to change."""

    __slots__ = (
        "fields",
        "flow",
        "headers",
        "info",
        "internal",
        "response_spelling",
        "response_started",
        "scheme",
        "target",
        "upgrade",
    )

    scheme: bytes
    headers: Headers
    fields: dict[bytes, bytes]
    """The request's headers as received, by name."""
    upgrade: bytes | None
    """Value of the accepted Upgrade; then the body is opaque both ways."""
    info: StreamInfo
    flow: Wakeable
    response_started: bool
    internal: bool
    """The caller is trusted to steer the router by header."""
    response_spelling: dict[bytes, bytes] | None
    """As the body's `spelling`, of the response; set before it is sent."""
    target: ClusterTarget | None
    """The destination, if it was drawn already."""

    def take_body(self) -> list[bytes]:
        """Take the request body that has arrived; lets more arrive."""
        raise NotImplementedError

    @property
    def congested(self) -> bool:
        """The client reads slower than the upstream sends."""
        raise NotImplementedError

    def hold_upload(self) -> None:
        """The upstream reads slower than the client sends: stop reading until `take_body`."""
        raise NotImplementedError

    def send_informational(self, status: int, headers: Headers) -> None:
        """Pass a 1xx response on."""
        raise NotImplementedError

    def send_response(
        self,
        status: int,
        headers: Headers,
        fields: dict[bytes, bytes],
        chunks: list[bytes],
        end: bool,
        trailers: Headers | None,
    ) -> None:
        """The response head, with the body that came along; `end`: nothing follows."""
        raise NotImplementedError

    def send_body(self, chunks: list[bytes], end: bool, trailers: Headers | None) -> None:
        """More of the body."""
        raise NotImplementedError

    def send_local_reply(
        self,
        status: int,
        body: bytes,
        flags: int,
        details: str,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """A response made here."""
        raise NotImplementedError

    def reset(self, flags: int, details: str) -> None:
        """Break off a response that has begun."""
        raise NotImplementedError
