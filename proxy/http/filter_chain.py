"""The HTTP filters of one listener, as the hooks a stream runs through.

A filter is a synchronous object; each hook it has is collected once, when configuration arrives, so a stream pays for
what is there and nothing else. `on_request_headers` runs in configured order, the others in reverse, as Envoy does.
A filter never imports another filter, the router or the upstream.

    on_request_headers(stream) -> None | LocalReply | awaitable of those   may answer instead of the upstream
    on_response_headers(stream, status, headers) -> None                   may change the headers, local replies included
    on_stream_complete(stream) -> None                                     sees the finished StreamInfo

A filter with `only_by_route` acts only where a route says something to filters; its request hook is not called for others. For a
single response a request hook may leave an edit in `stream.response_edits`: requests that a filter does not concern pay nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

from proxy.http.local_reply import LocalReply

if TYPE_CHECKING:
    from proxy.http.stream import Stream

Headers = list[tuple[bytes, bytes]]
RequestHook = Callable[["Stream"], "LocalReply | Awaitable[LocalReply | None] | None"]
ResponseHook = Callable[["Stream", int, Headers], None]
CompleteHook = Callable[["Stream"], None]


class HttpFilter:
    """Base of all HTTP filters; a subclass defines the hooks it needs."""

    name: ClassVar[str] = ""
    only_by_route = False

    def silence(self) -> bool:
        """The chain has it `disabled`: it acts only as routes say, if it takes anything from routes (else False)."""
        return False


class FilterChain:
    """The hooks of a list of filters."""

    __slots__ = ("complete_hooks", "filters", "request_hooks", "response_hooks", "route_request_hooks")

    def __init__(self, filters: Iterable[HttpFilter]) -> None:
        self.filters = tuple(filters)
        self.route_request_hooks: tuple[RequestHook, ...] = _hooks(self.filters, "on_request_headers")
        always = (filter_ for filter_ in self.filters if not filter_.only_by_route)
        self.request_hooks: tuple[RequestHook, ...] = _hooks(always, "on_request_headers")
        self.response_hooks: tuple[ResponseHook, ...] = _hooks(self.filters[::-1], "on_response_headers")
        self.complete_hooks: tuple[CompleteHook, ...] = _hooks(self.filters[::-1], "on_stream_complete")

    def __repr__(self) -> str:
        return f"<FilterChain {' → '.join(filter_.name for filter_ in self.filters)}>"


def _hooks(filters: Iterable[HttpFilter], hook: str) -> tuple[Callable[..., None], ...]:
    return tuple(getattr(filter_, hook) for filter_ in filters if hasattr(filter_, hook))
