"""The HTTP filters of one listener, as a stream runs through them.

A filter is a synchronous object; which filters have a hook is settled once, when configuration arrives, so a stream pays for
what is there and nothing else. `on_request_headers` runs in configured order, `on_response_headers` in reverse, as Envoy does.
A filter never imports another filter, the router or the upstream.

A filter with `only_by_route` acts only where a route says something to filters; its request hook is not called for others. For a
single response a request hook may leave an edit in `stream.response_edits`: requests that a filter does not concern pay nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, ClassVar

from proxy.http.local_reply import LocalReply

if TYPE_CHECKING:
    from proxy.http.stream import Stream

Headers = list[tuple[bytes, bytes]]


class HttpFilter:
    """Base of all HTTP filters; a subclass defines the hooks it needs."""

    name: ClassVar[str] = ""
    only_by_route = False

    def silence(self) -> bool:
        """The chain has it `disabled`: it acts only as routes say, if it takes anything from routes (else False)."""
        return False

    def on_request_headers(self, stream: Stream) -> LocalReply | Awaitable[LocalReply | None] | None:
        """May answer instead of the upstream."""
        return None

    def on_response_headers(self, stream: Stream, status: int, headers: Headers) -> None:
        """May change the headers, of local replies too."""


class FilterChain:
    """A list of filters: those that see requests, those that see requests whose route says something to filters, and
    those that see responses.
    """

    __slots__ = ("filters", "of_requests", "of_responses", "of_routed_requests")

    def __init__(self, filters: Iterable[HttpFilter]) -> None:
        self.filters = tuple(filters)
        self.of_routed_requests = _with("on_request_headers", self.filters)
        always = [filter_ for filter_ in self.filters if not filter_.only_by_route]
        self.of_requests = _with("on_request_headers", always)
        self.of_responses = _with("on_response_headers", self.filters[::-1])

    def __repr__(self) -> str:
        return f"<FilterChain {' → '.join(filter_.name for filter_ in self.filters)}>"


def _with(hook: str, filters: Iterable[HttpFilter]) -> tuple[HttpFilter, ...]:
    without = getattr(HttpFilter, hook)
    return tuple([filter_ for filter_ in filters if getattr(type(filter_), hook) is not without])
