"""The life of a downstream HTTP/1.1 connection: requests one after another, each from its head to its log line.

`_serve` reads top to bottom: wait for a request, admit it (checks and header mutation), run the filters, let the terminal
filter answer, log it, decide whether the connection stays. Pipelined requests wait in the decoder, so answers keep
their order. Decides nothing about routes and hosts.
Invariants: every request that was begun ends in exactly one `_complete`; a malformed request reaches no filter.
Reference: Envoy source/common/http/conn_manager_impl.cc; reference §3.4, §8, §9.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

from proxy import clock
from proxy.deadlines import Deadline, Deadlines
from proxy.http import request_headers
from proxy.http.admission import Admission
from proxy.http.codec import CodecError, Request, h1_encode
from proxy.http.filter_chain import RequestHook
from proxy.http.filters.router import Terminal
from proxy.http.local_reply import LocalReply
from proxy.http.request_headers import ClientFacts
from proxy.http.settings import HcmSettings
from proxy.http.stream import Stream
from proxy.http.stream_timers import StreamTimeout, StreamTimers
from proxy.net.connection import Connection
from proxy.net.downstream import DownstreamFacts
from proxy.net.flow import Flow, pause
from proxy.observability import response_flags as flags
from proxy.observability.stream_info import StreamInfo
from proxy.router.header_ops import apply_to_local_reply
from proxy.router.route import ForwardAction, Route
from proxy.router.timeouts import StreamDuration

log = logging.getLogger(__name__)


class Disconnected(Exception):
    """The client is gone."""


_HEADERS_LATE = LocalReply(408, b"request header timeout", details="request_header_timeout")


class HttpConnection:
    """Serves one connection. `on_closed(connection)` is called once it is over."""

    __slots__ = (
        "__weakref__",
        "_admission",
        "_close_deadline",
        "_closing",
        "_codec_error",
        "_deadlines",
        "_decoder",
        "_headers_deadline",
        "_idle_deadline",
        "_idle_since",
        "_in_mark",
        "_linger",
        "_on_closed",
        "_out_mark",
        "_stream",
        "_terminal",
        "_timers",
        "_upgraded",
        "client",
        "connection",
        "draining",
        "facts",
        "flow",
        "now",
        "original_destination",
        "settings",
        "wall",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        sock: socket.socket,
        facts: DownstreamFacts,
        settings: HcmSettings,
        terminal: Terminal,
        on_closed: Callable[[HttpConnection], None],
    ) -> None:
        self.settings = settings
        self.facts = facts
        self.connection = Connection(loop, sock, self)
        self.flow = Flow(self._on_flow_end)
        self.now = deadlines.now
        self.wall = clock.wall
        self.original_destination = facts.original_destination
        self.client = self._client_facts()
        self.draining = False
        self._terminal = terminal
        self._deadlines = deadlines
        self._on_closed = on_closed
        self._decoder = settings.codec.request_decoder(settings.max_headers_bytes, settings.max_headers_count)
        self._codec_error: CodecError | None = None
        self._stream: Stream | None = None
        self._closing = False
        self._linger = False  # we close, not the client: it gets time to read why
        self._close_deadline: Deadline | None = None
        self._idle_deadline: Deadline | None = None
        self._idle_since = 0.0
        self._in_mark = self._out_mark = 0
        self._admission = Admission(settings, self.client, self.connection.write)
        self._upgraded = False
        timers = StreamTimers(settings, deadlines, self.connection, self.flow)
        self._timers = timers if settings.times_streams else None
        self._headers_deadline: Deadline | None = None

    def _client_facts(self) -> ClientFacts:
        facts = self.facts
        element = None
        if facts.peer is not None:
            details = self.settings.client_cert
            element = request_headers.xfcc_element(facts.local_uri_san, facts.peer, details)
        return ClientFacts(facts.remote_address.rpartition(":")[0].strip("[]").encode(), facts.tls, element)

    def start(self) -> None:
        """Begin to read and serve."""
        stats = self.settings.stats
        stats.downstream_cx_total.value += 1
        stats.downstream_cx_active.value += 1
        stats.downstream_cx_http1_total.value += 1
        stats.downstream_cx_http1_active.value += 1
        if self.facts.tls:
            stats.downstream_cx_ssl_total.value += 1
            stats.downstream_cx_ssl_active.value += 1
        self._idle_since = self.now()
        if self.settings.idle_timeout:
            self._idle_deadline = self._deadlines.after(self.settings.idle_timeout, self._check_idle)
        self.connection.start()
        self.flow.start(self._serve())

    # The life of the connection.

    async def _serve(self) -> None:
        decoder, connection = self._decoder, self.connection
        requests = decoder.requests
        while True:
            while not requests:
                if self._codec_error is not None:
                    self._refuse(self._codec_error)
                    return
                if not connection.reading and not connection.closed:
                    connection.resume_reading()
                await pause()
            request = requests[0]
            stays = await self._serve_request(request)
            requests.popleft()
            if not stays:
                return

    async def _serve_request(self, request: Request) -> bool:
        """Answer one request; returns whether the connection can carry another."""
        stream = self._open_stream(request)
        try:
            if self._codec_error is not None and self._is_last_open(request):
                self.flow.throw(self._codec_error)  # once this request waits for something
            reply = self._admission.admit(stream, request)
            if request.upgrade:
                self._decide_upgrade(stream)
            if reply is None:
                stream.route = self._find_route(stream)
                if request.upgrade and stream.upgrade is None:
                    reply = self._refuse_upgrade(stream, request)
            if reply is None:
                route = stream.route
                if route is not None and route.stream_duration is not None:
                    allowed = route.stream_duration
                    if allowed.longest or b"grpc-timeout" in stream.fields:
                        self._limit_duration(stream, allowed)
                hooks = self.settings.chain.request_hooks
                if route is not None and route.filter_config is not None:
                    hooks = self._configure_filters(stream, route)
                # Filters in order, then the terminal one; the first local reply ends it.
                for hook in hooks:
                    result = hook(stream)
                    if result is not None:
                        reply = await self._answer_of(stream, result)
                        if reply is not None:
                            break
                else:
                    pending = self._terminal.route(stream, route)
                    if pending is not None:
                        await pending
            if reply is not None:
                self._linger = self._linger or reply.closes
                stream.reply(reply)
            return stream.ended and not stream.closes
        except CodecError as error:
            self._break_off(stream, error)
            return False
        except StreamTimeout as late:
            self._on_stream_timeout(stream, late)
            return late.duration and stream.ended and not stream.closes
        except Disconnected:
            self._on_disconnected(stream)
            return False
        finally:
            self._complete(stream)

    def _limit_duration(self, stream: Stream, allowed: StreamDuration) -> None:
        """A route may limit how long its requests last, or let gRPC clients say."""
        seconds, header = allowed.of_request(stream.fields.get(b"grpc-timeout"))
        if header is not None:
            stream.headers[:] = [pair for pair in stream.headers if pair[0] != b"grpc-timeout"]
            stream.headers.append((b"grpc-timeout", header))
        if seconds is not None:
            if self._timers is None:
                self._timers = StreamTimers(self.settings, self._deadlines, self.connection, self.flow)
            self._timers.limit_duration(stream, seconds)

    def _configure_filters(self, stream: Stream, route: Route) -> tuple[RequestHook, ...]:
        """The route says something to filters. Its destination is drawn now: it may say more."""
        said = route.filter_config
        if isinstance(route.action, ForwardAction):
            stream.target = route.action.pick(self.settings.draw())
            said = stream.target.filter_config
        if said is not None:
            stream.filter_config = said
        return self.settings.chain.route_request_hooks

    async def _answer_of(
        self, stream: Stream, result: LocalReply | Awaitable[LocalReply | None]
    ) -> LocalReply | None:
        """What a filter answers at last, with what the request's route says of answers."""
        ops = () if stream.route is None else self._terminal.note(stream, stream.route)
        reply = result if isinstance(result, LocalReply) else await result
        if reply is None or reply.as_is or not ops:
            return reply
        headers: list[tuple[bytes, bytes]] = []
        apply_to_local_reply(ops, reply.flags, reply.details, headers, stream.info)
        return replace(reply, headers=(*headers, *reply.headers))

    def _is_last_open(self, request: Request) -> bool:
        """Whether what the client broke is this request's body."""
        return not request.complete and request is self._decoder.requests[-1]

    def _on_stream_timeout(self, stream: Stream, late: StreamTimeout) -> None:
        stats, reply = self.settings.stats, late.reply
        if late.duration:
            stats.downstream_rq_max_duration_reached.value += 1
        else:
            self._linger = True
            stats.downstream_rq_timeout.value += 1
        if stream.response_started:
            stream.reset(reply.flags, reply.details)
        else:
            stream.reply(reply)

    def _on_disconnected(self, stream: Stream) -> None:
        stream.info.response_flags |= flags.DC
        stream.info.response_code_details = "downstream_remote_disconnect"
        self.settings.stats.downstream_cx_destroy_remote_active_rq.value += 1
        self.settings.stats.downstream_rq_rx_reset.value += 1

    # A request begins.

    def _open_stream(self, request: Request) -> Stream:
        stats, facts = self.settings.stats, self.facts
        stats.downstream_rq_total.value += 1
        stats.downstream_rq_active.value += 1
        stats.downstream_rq_http1_total.value += 1
        info = StreamInfo()
        info.start_time = self.wall()
        info.start = self.now()
        info.protocol = request.version
        info.method = request.method
        info.path = request.target
        info.downstream_local_address = facts.local_address
        info.downstream_remote_address = facts.remote_address
        info.requested_server_name = facts.sni
        if facts.peer is not None:
            info.downstream_peer_uri_san = facts.peer.uri_san
            info.downstream_local_uri_san = facts.local_uri_san
        self._stream = stream = Stream(self, request, info)
        if self._timers is not None:
            self._timers.begin(stream)
        return stream

    def _decide_upgrade(self, stream: Stream) -> None:
        """Tell the decoder what follows the head: the upgraded protocol's bytes, or plain HTTP."""
        if stream.upgrade is None:
            self._decoder.refuse_upgrade()
        else:
            self._decoder.accept_upgrade()
            self._upgraded = True

    def _refuse_upgrade(self, stream: Stream, request: Request) -> LocalReply | None:
        """Ignore h2c, refuse others; Envoy has found the route by then, and logs it."""
        route = stream.route
        if request.fields[b"upgrade"].lower() == b"h2c":
            return None
        if route is None:
            return LocalReply(404, flags=flags.NR, details="route_not_found", closes=True)
        self._terminal.note(stream, route)
        return LocalReply(403, details="upgrade_failed", closes=True)

    def _find_route(self, stream: Stream) -> Route | None:
        settings = self.settings
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

    # A request ends.

    def closes_after(self, stream: Stream) -> bool:
        """Whether the response must say `connection: close`."""
        body = stream.body
        if not body.complete:
            self.settings.stats.downstream_rq_response_before_rq_complete.value += 1
            return True
        return self._linger or self.draining or not body.keep_alive or stream.upgrade is not None

    def _complete(self, stream: Stream) -> None:
        self._stream = None
        if self._timers is not None:
            self._timers.end()
        settings, info, connection = self.settings, stream.info, self.connection
        info.end = self._idle_since = self.now()
        info.wire_bytes_received = connection.bytes_in - self._in_mark
        info.wire_bytes_sent = connection.bytes_out - self._out_mark
        self._in_mark, self._out_mark = connection.bytes_in, connection.bytes_out
        stats = settings.stats
        stats.downstream_rq_active.value -= 1
        stats.count_response(info.response_code)
        stats.downstream_rq_time.record((info.end - info.start) * 1000)
        for hook in settings.chain.complete_hooks:
            hook(stream)
        for logger in settings.loggers:
            logger(info)

    def _break_off(self, stream: Stream, error: CodecError) -> None:
        """The client broke the protocol inside a request."""
        self.settings.stats.downstream_cx_protocol_error.value += 1
        self._linger = True
        if stream.response_started:
            stream.info.response_flags |= flags.DPE
            stream.info.response_code_details = error.details
        else:
            if stream.info.request_headers is None:
                # Envoy's codec refuses it before there is a request to log.
                stream.info.method = stream.info.path = b""
            stream.reply(_codec_reply(error))

    def _refuse(self, error: CodecError) -> None:
        """The client broke the protocol before there was a request: answer in its stead, and log it."""
        request = Request()
        request.complete = True
        stream = self._open_stream(request)
        self._linger = True
        self.settings.stats.downstream_cx_protocol_error.value += 1
        stream.reply(_codec_reply(error))
        self._complete(stream)

    # What the connection says.

    def on_data(self, data: bytes) -> None:
        if self._closing or self._codec_error is not None:
            return  # answered already; what still comes is thrown away
        decoder = self._decoder
        try:
            decoder.feed(data)
        except CodecError as error:
            stream = self._stream
            if stream is not None and not stream.body.complete and decoder.requests[-1] is stream.body:
                self.flow.throw(error)
                return
            self._codec_error = error
        if self.settings.request_headers_timeout:
            self._watch_headers()
        self.flow.wake()
        requests = decoder.requests
        if requests and (len(requests) > 1 or requests[0].chunks):
            stream = self._stream
            if stream is None or not stream.reads_ahead or len(requests) > 1 or not stream.read_ahead():
                self.connection.pause_reading()  # until the request at hand is done, or its body taken

    def _watch_headers(self) -> None:
        """A head that has begun must be complete in time."""
        begun = not self._decoder.idle and not self._decoder.requests
        if begun and self._headers_deadline is None:
            timeout = self.settings.request_headers_timeout
            self._headers_deadline = self._deadlines.after(timeout, self._headers_timed_out)
        elif not begun and self._headers_deadline is not None:
            self._deadlines.disarm(self._headers_deadline)
            self._headers_deadline = None

    def _headers_timed_out(self) -> None:
        self._headers_deadline = None
        if self._stream is None and not self._closing:
            self.settings.stats.downstream_rq_timeout.value += 1
            self._codec_error = CodecError(408, "request_header_timeout")
            self.flow.wake()

    def resume_upload(self) -> None:
        """The body that had arrived was taken."""
        connection = self.connection
        if not connection.reading and not connection.closed and len(self._decoder.requests) <= 1:
            connection.resume_reading()

    def on_eof(self) -> None:
        if self._closing:
            self._close()
        elif self.flow.done:
            return
        else:
            self.flow.throw(Disconnected())

    def on_error(self, error: OSError) -> None:
        if self._closing:
            self._close()
        elif not self.flow.done:
            self.flow.throw(Disconnected())

    def on_drain(self) -> None:
        if self._closing and self._close_deadline is None:
            self._close()
        else:
            self.flow.wake()

    def drain(self) -> None:
        """Finish what runs, then close; an idle connection closes at once."""
        self.draining = True
        if self._stream is None and self._decoder.idle and not self.flow.done:
            self.settings.stats.downstream_cx_drain_close.value += 1
            self.flow.throw(Disconnected())

    def _check_idle(self) -> None:
        self._idle_deadline = None
        due = self._idle_since + self.settings.idle_timeout
        if self._stream is None and self.now() >= due:
            self.settings.stats.downstream_cx_idle_timeout.value += 1
            self.flow.throw(Disconnected())
            return
        again = due if self._stream is None else self.now() + self.settings.idle_timeout
        self._idle_deadline = self._deadlines.arm(again, self._check_idle)

    # The end of the connection.

    def abort(self) -> None:
        """Close, without the rest of a response; what was written is still sent."""
        self._linger = True

    def linger(self) -> None:
        """Close after this response, and give the client time to read it."""
        self._linger = True

    def _on_flow_end(self, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, Disconnected):
            log.error("a request failed unexpectedly", exc_info=error)
        connection = self.connection
        self._closing = True
        if connection.closed or isinstance(error, Disconnected):
            self._close()
        elif self._linger or self._decoder.requests or not (self._decoder.idle or self._upgraded):
            self._close_later()
        elif connection.unsent:
            pass  # on_drain closes
        else:
            self._close()

    def _close_later(self) -> None:
        """The client may still be sending: give it time to read the answer before the socket goes away."""
        if not self.settings.delayed_close_timeout:
            self._close()
            return
        self._close_deadline = self._deadlines.after(self.settings.delayed_close_timeout, self._close)
        self.connection.resume_reading()

    def _close(self) -> None:
        connection = self.connection
        for deadline in (self._close_deadline, self._idle_deadline, self._headers_deadline):
            if deadline is not None:
                self._deadlines.disarm(deadline)
        self._close_deadline = self._idle_deadline = self._headers_deadline = None
        connection.close()
        on_closed, self._on_closed = self._on_closed, _ignore
        if on_closed is _ignore:
            return
        stats = self.settings.stats
        stats.downstream_cx_active.value -= 1
        stats.downstream_cx_http1_active.value -= 1
        stats.downstream_cx_destroy.value += 1
        stats.downstream_cx_rx_bytes_total.value += connection.bytes_in
        stats.downstream_cx_tx_bytes_total.value += connection.bytes_out
        if self.facts.tls:
            stats.downstream_cx_ssl_active.value -= 1
        self.facts.on_closed()
        on_closed(self)

    def close(self) -> None:
        """Break off whatever runs."""
        if not self.flow.done:
            self.flow.throw(Disconnected())
        self._close()

    def __repr__(self) -> str:
        return f"<HttpConnection {self.facts.remote_address} {self._stream or 'idle'} {self.connection!r}>"


def _ignore(connection: HttpConnection) -> None:
    """The end was reported already."""


def _apply_decorator(stream: Stream, route: Route | None, operation: str) -> None:
    """`x-envoy-decorator-operation` names the span: set by the client side, consumed by the server side."""
    name = b"x-envoy-decorator-operation"
    if name in stream.body.fields:
        stream.headers = [pair for pair in stream.headers if pair[0] != name]
    if operation == "EGRESS" and route is not None and route.decorator_operation:
        stream.headers.append((name, route.decorator_operation))


def _codec_reply(error: CodecError) -> LocalReply:
    if error.status == 408:
        return _HEADERS_LATE
    body = h1_encode.reason_phrase(error.status).encode()
    return LocalReply(error.status, body, flags.DPE, error.details)
