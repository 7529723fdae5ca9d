"""What its route means for a stream before the router has it: finding it, what it says to filters and of their answers.

Decides no destination but by the route's own weights, and answers nothing itself.
Reference: Envoy source/common/http/conn_manager_impl.cc `refreshCachedRoute`, filter_manager.cc `sendLocalReply`.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace

from proxy.http.codec import Request
from proxy.http.filter_chain import HttpFilter
from proxy.http.filters.router import Terminal
from proxy.http.local_reply import LocalReply
from proxy.http.settings import HcmSettings
from proxy.http.stream import Stream
from proxy.observability import response_flags as flags
from proxy.router.header_ops import apply_to_local_reply
from proxy.router.route import ForwardAction, Route


def find_route(stream: Stream, settings: HcmSettings) -> Route | None:
    table = settings.routes.table
    if table is None:
        return None
    route = table.route(
        stream.headers,
        authority=stream.authority,
        path=stream.path,
        method=stream.method,
        scheme=stream.scheme,
        draw=settings.draw(),
    )
    if settings.tracing_operation is not None:
        _apply_decorator(stream, route, settings.tracing_operation)
    return route


def _apply_decorator(stream: Stream, route: Route | None, operation: str) -> None:
    """`x-envoy-decorator-operation` names the span: set by the client side, consumed by the server side."""
    name = b"x-envoy-decorator-operation"
    if name in stream.body.fields:
        stream.headers = [pair for pair in stream.headers if pair[0] != name]
    if operation == "EGRESS" and route is not None and route.decorator_operation:
        stream.headers.append((name, route.decorator_operation))


def refuse_upgrade(stream: Stream, request: Request) -> LocalReply | None:
    """Ignore h2c, refuse others; Envoy has found the route by then."""
    if request.fields[b"upgrade"].lower() == b"h2c":
        return None
    if stream.route is None:
        return LocalReply(404, flags=flags.NR, details="route_not_found", closes=True)
    return LocalReply(403, details="upgrade_failed", closes=True)


def filters_of_route(stream: Stream, route: Route, settings: HcmSettings) -> tuple[HttpFilter, ...]:
    """The filters of a route that says something to filters. Its destination is drawn now: it may say more."""
    said = route.filter_config
    if isinstance(route.action, ForwardAction):
        stream.target = route.action.only or route.action.pick(settings.draw())
        said = stream.target.filter_config
    if said is not None:
        stream.filter_config = said
    return settings.chain.of_routed_requests


def on_route(stream: Stream, reply: LocalReply, terminal: Terminal) -> LocalReply:
    """A reply made here with what the request's route, if it has one by now, says of responses and log lines."""
    ops = () if stream.route is None else terminal.note(stream, stream.route)
    if reply.as_is or not ops:
        return reply
    headers: list[tuple[bytes, bytes]] = []
    apply_to_local_reply(ops, reply.flags, reply.details, headers, stream.info)
    return replace(reply, headers=(*headers, *reply.headers))


async def answer_of_filter(
    stream: Stream, result: LocalReply | Awaitable[LocalReply | None], terminal: Terminal
) -> LocalReply | None:
    """What a filter answers at last, as the request's route has it; None: the request goes on."""
    if not isinstance(result, LocalReply):
        if stream.route is not None:
            terminal.note(stream, stream.route)  # the client may leave before there is an answer
        answer = await result
        if answer is None:
            return None
        result = answer
    return on_route(stream, result, terminal)
