"""The requests of a downstream HTTP/1.1 connection, one after another, each from its head to its log line.

`_serve` reads top to bottom: wait for a request, admit it (checks and header mutation), run the filters, let the terminal
filter answer, log it, decide whether the connection stays. Pipelined requests wait in the decoder, so answers keep
their order. Decides nothing about routes and hosts.
Invariants: every request that was begun ends in exactly one `_complete`; a malformed request reaches no filter.
Reference: Envoy source/common/http/conn_manager_impl.cc; reference §3.4, §8, §9.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.deadlines import Deadlines
from proxy.http import request_headers
from proxy.http.admission import Admission
from proxy.http.codec import CodecError, Request, h1_encode
from proxy.http.filters.router import Terminal
from proxy.http.local_reply import LocalReply
from proxy.http.request_headers import ClientFacts
from proxy.http.routing import answer_of_filter, filters_of_route, find_route, on_route, refuse_upgrade
from proxy.http.server_connection import Disconnected, ServerConnection
from proxy.http.settings import HcmSettings
from proxy.http.stream import Stream
from proxy.http.stream_timers import StreamTimeout, StreamTimers
from proxy.net.downstream import DownstreamFacts
from proxy.net.flow import PAUSE
from proxy.net.hangups import Hangups
from proxy.net.tls_socket import Established
from proxy.observability import response_flags as flags
from proxy.observability.stream_info import StreamInfo
from proxy.router.timeouts import StreamDuration

_HEADERS_LATE = LocalReply(408, b"request header timeout", details="request_header_timeout")


class HttpConnection(ServerConnection):
    """Serves the requests of one connection."""

    __slots__ = ("_admission", "_in_mark", "_out_mark", "_terminal", "_timers", "client")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        end: Established,
        facts: DownstreamFacts,
        settings: HcmSettings,
        terminal: Terminal,
        hangups: Hangups,
        on_closed: Callable[[HttpConnection], None],
    ) -> None:
        super().__init__(loop, deadlines, end, facts, settings, hangups, on_closed)
        self.client = self._client_facts()
        self._terminal = terminal
        self._in_mark = self._out_mark = 0
        self._admission = Admission(settings, self.client, self.connection.write)
        timers = StreamTimers(settings, deadlines, self.connection, self.flow)
        self._timers = timers if settings.times_streams else None

    def _client_facts(self) -> ClientFacts:
        facts = self.facts
        element = None
        if facts.peer is not None:
            details = self.settings.client_cert
            element = request_headers.xfcc_element(facts.local_uri_san, facts.peer, details)
        address = facts.remote_address.rpartition(":")[0].strip("[]").encode()
        return ClientFacts(address, facts.tls, element, facts.local_address.rpartition(":")[2].encode())

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
                    self.read_on()
                await PAUSE
            # Without a name for it: whoever waits for the next would hold on to this one.
            stays = await self._serve_request(requests[0])
            requests.pop(0)
            if not stays:
                return
            if requests and not connection.reading:
                self.read_on()

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
                stream.route = find_route(stream, self.settings)
                if request.upgrade and stream.upgrade is None:
                    reply = refuse_upgrade(stream, request)
                    reply = reply and on_route(stream, reply, self._terminal)
            if reply is None:
                route = stream.route
                if route is not None and route.stream_duration is not None:
                    allowed = route.stream_duration
                    if allowed.longest or b"grpc-timeout" in stream.fields:
                        self._limit_duration(stream, allowed)
                filters = self.settings.chain.of_requests
                if route is not None and route.filter_config is not None:
                    filters = filters_of_route(stream, route, self.settings)
                # Filters in order, then the terminal one; the first local reply ends it.
                for one in filters:
                    result = one.on_request_headers(stream)
                    if result is not None:
                        reply = await answer_of_filter(stream, result, self._terminal)
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
            stream.reply(on_route(stream, reply, self._terminal))

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

    # A request ends.

    def closes_after(self, stream: Stream) -> bool:
        """Whether the response must say `connection: close`."""
        if not stream.body.complete:
            self.count_early_response()
            return True
        if self.draining:
            self.settings.stats.downstream_cx_drain_close.value += 1
            return True
        return self._linger or not stream.keep_alive or stream.upgrade is not None

    def count_early_response(self) -> None:
        """An answer before the whole request was taken, which Envoy ends with a reset of the stream."""
        self.settings.stats.downstream_rq_response_before_rq_complete.value += 1
        self.settings.stats.downstream_rq_rx_reset.value += 1

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
            stream.reply(on_route(stream, _codec_reply(error), self._terminal))

    def _refuse(self, error: CodecError) -> None:
        """The client broke the protocol before there was a request: answer in its stead, and log it."""
        request = Request()
        request.complete = True
        stream = self._open_stream(request)
        self._linger = True
        self.settings.stats.downstream_cx_protocol_error.value += 1
        stream.reply(_codec_reply(error))
        self._complete(stream)


def _codec_reply(error: CodecError) -> LocalReply:
    if error.status == 408:
        return _HEADERS_LATE
    body = h1_encode.reason_phrase(error.status).encode()
    return LocalReply(error.status, body, flags.DPE, error.details)
