"""Accepting connections, and taking each to the filter chain that serves it.

An accepted connection is looked at without taking bytes (original destination, TLS and HTTP inspection as configured),
handed to the listener its original destination names, matched to a filter chain, its TLS handshake done, and given to
the chain's network filter. Decides nothing that the matcher, the TLS context or the network filter decide.
Invariant: every accepted socket ends in a served connection or closed, and is counted once either way.
Reference: Envoy source/common/listener_manager/active_tcp_listener.cc, active_stream_listener_base.cc; reference §3.2, §3.3.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Protocol

from proxy import clock
from proxy.deadlines import Deadline, Deadlines
from proxy.net import sniff
from proxy.net.downstream import DownstreamFacts, format_address
from proxy.net.filter_chain_match import Connection as Wanted
from proxy.net.listener_config import ListenerRuntime, RuntimeChain
from proxy.net.original_dst import original_destination
from proxy.net.readiness import Readiness
from proxy.net.tls_socket import Established, Step, TlsSocket
from proxy.observability import logging
from proxy.observability import response_flags as flags
from proxy.observability.stream_info import StreamInfo
from proxy.tls.engine import TlsEngine
from proxy.tls.openssl import TlsError
from proxy.tls.peer import PeerIdentity, peer_identity, resumption_refusal
from proxy.tls.secrets import SecretError

log = logging.logger("conn_handler")

_ACCEPT_BATCH = 16
_BACKLOG = 4096
_PEEK = sniff.MAX_REQUEST_LINE
_PEEK_AGAIN = 0.002  # s between looks at a preface that is there in part: peeking leaves the socket readable


class Listeners(Protocol):
    """Finds the listener for a connection that was redirected to a shared one."""

    def for_destination(self, address: tuple[str, int]) -> ListenerRuntime | None: ...


class AcceptingSocket:
    """The listening socket of one address. `runtime` is replaced when the definition changes; the socket stays."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        sock: socket.socket,
        runtime: ListenerRuntime,
        listeners: Listeners,
    ) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self.sock = sock
        self.runtime = runtime
        self._listeners = listeners
        self._accepting: set[AcceptedConnection] = set()

    def start(self) -> None:
        self._loop.add_reader(self.sock.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPT_BATCH):
            try:
                sock, peer = self.sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                log.exception("cannot accept on %s", self.runtime.name)
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            accepted = AcceptedConnection(
                self._loop, self._deadlines, sock, peer[:2], self._listeners, self._accepting.discard
            )
            self._accepting.add(accepted)
            accepted.start(self.runtime)

    def leave(self) -> None:
        """Stop accepting; what was accepted goes on to be served."""
        if self.sock.fileno() >= 0:
            self._loop.remove_reader(self.sock.fileno())
            self.sock.close()

    def close(self) -> None:
        """Stop accepting; connections that are served already are not touched."""
        self.leave()
        for accepted in list(self._accepting):
            accepted.close()


class AcceptedConnection:
    """From accept to the network filter."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        sock: socket.socket,
        peer: tuple[str, int],
        listeners: Listeners,
        on_done: Callable[[AcceptedConnection], None],
    ) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self._sock = sock
        self._tls: TlsSocket | None = None
        self._readiness = Readiness(loop, sock.fileno())
        self._peer = peer
        self._listeners = listeners
        self._on_done = on_done
        self._local: tuple[str, int] = sock.getsockname()[:2]
        self._destination = self._local
        self._restored = False
        self._hello: sniff.ClientHello | None = None
        self._http: str | None = None
        self._deadline: Deadline | None = None
        self._chain: RuntimeChain | None = None
        self._started = self._deadlines.now()
        self._started_wall = clock.wall()
        self._runtime: ListenerRuntime

    def start(self, runtime: ListenerRuntime) -> None:
        """Run the listener filters of the listener that accepted, or of the one it hands over to."""
        runtime.stats.downstream_cx_total.value += 1
        self._runtime = runtime
        if runtime.restores_destination:
            found = original_destination(self._sock)
            if found is not None:
                self._destination, self._restored = found, found != self._local
        if runtime.use_original_dst:
            other = self._listeners.for_destination(self._destination)
            if other is not None and other is not runtime:
                self._runtime = runtime = other
                runtime.stats.downstream_cx_total.value += 1
        runtime.stats.downstream_pre_cx_active.value += 1
        if not (runtime.inspects_tls(self._destination[1]) or runtime.inspects_http(self._destination[1])):
            self._choose_chain()
            return
        if runtime.filters_timeout:
            self._deadline = self._deadlines.after(runtime.filters_timeout, self._inspection_timed_out)
        self._inspect()

    # Listener filters.

    def _inspect(self) -> None:
        try:
            data = self._sock.recv(_PEEK, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            self._readiness.readable(self._inspect)
            return
        except OSError:
            self._drop()
            return
        if not data:
            self._drop()
            return
        if self._inspected(data) or len(data) >= _PEEK:
            self._choose_chain()
        else:
            self._readiness.neither()
            self._loop.call_later(_PEEK_AGAIN, self._look_again, len(data))

    def _look_again(self, seen: int) -> None:
        """More may have come: a socket with unread bytes is always readable, so it is looked at in turns."""
        if self._sock.fileno() < 0 or self._chain is not None:
            return
        try:
            data = self._sock.recv(_PEEK, socket.MSG_PEEK)
        except OSError:
            self._drop()
            return
        if len(data) == seen:
            self._loop.call_later(_PEEK_AGAIN * 5, self._look_again, seen)
        else:
            self._inspect()

    def _inspected(self, data: bytes) -> bool:
        """Whether the bytes seen say enough."""
        runtime, port = self._runtime, self._destination[1]
        if runtime.inspects_tls(port):
            hello = sniff.client_hello(data)
            if hello is sniff.NEED_MORE:
                return False
            if isinstance(hello, sniff.ClientHello):
                self._hello = hello
                return True
        if runtime.inspects_http(port):
            protocol = sniff.http_protocol(data)
            if protocol is sniff.NEED_MORE:
                return False
            if isinstance(protocol, str):
                self._http = protocol
        return True

    def _inspection_timed_out(self) -> None:
        self._deadline = None
        self._runtime.stats.downstream_pre_cx_timeout.value += 1
        if self._runtime.continue_on_timeout:
            self._choose_chain()
        else:
            self._drop()

    # The filter chain.

    def _choose_chain(self) -> None:
        self._disarm()
        runtime, hello = self._runtime, self._hello
        alpn: tuple[str, ...] = hello.alpn if hello is not None else ((self._http,) if self._http else ())
        wanted = Wanted(
            destination_port=self._destination[1],
            destination=self._destination[0],
            server_name=hello.server_name if hello is not None else "",
            transport_protocol="tls" if hello is not None else "raw_buffer",
            application_protocols=alpn,
            source=self._peer[0],
            source_port=self._peer[1],
        )
        chain = runtime.matcher.find(wanted)
        if chain is None:
            runtime.stats.no_filter_chain_match.value += 1
            self._log_refusal("filter_chain_not_found", flags.NR)
            self._drop()
            return
        self._chain = chain
        if chain.tls is None:
            self._serve(self._sock, None)
            return
        try:
            self._tls = TlsSocket(self._sock, TlsEngine(chain.tls.current()))
        except (SecretError, TlsError) as error:
            self._tls_failed(f"TLS error: {error}")
            return
        self._deadline = self._deadlines.after(chain.handshake_timeout, self._handshake_timed_out)
        self._handshake()

    def _handshake(self) -> None:
        end, chain = self._tls, self._chain
        assert end is not None
        assert chain is not None
        assert chain.tls is not None
        now, engine = clock.wall(), end.engine
        try:
            step = end.handshake()
            if step is Step.DONE:
                engine.peer = peer_identity(engine, now)
        except OSError as error:
            self._tls_failed(f"TLS_error:|{getattr(error, 'reason', None) or error}:TLS_error_end")
            return
        if step is Step.READ:
            self._readiness.readable(self._handshake)
            return
        if step is Step.WRITE:
            self._readiness.writable(self._handshake)
            return
        peer = engine.peer
        refusal = resumption_refusal(engine, peer, now)
        if refusal is None:
            refusal = chain.tls.refusal(peer)
            if refusal is not None:
                self._runtime.stats.ssl_fail_verify_san.value += 1
        if refusal is not None:
            self._tls_failed(f"TLS_error:|CERTIFICATE_VERIFY_FAILED:{refusal}:TLS_error_end")
            return
        self._runtime.stats.ssl_handshake.value += 1
        if engine.session_reused:
            self._runtime.stats.ssl_session_reused.value += 1
        self._serve(end, peer)

    def _handshake_timed_out(self) -> None:
        self._deadline = None
        self._runtime.stats.downstream_cx_transport_socket_connect_timeout.value += 1
        self._tls_failed("connection timeout")

    def _tls_failed(self, reason: str) -> None:
        self._runtime.stats.ssl_connection_error.value += 1
        self._log_refusal(None, 0, reason)
        self._drop()

    def _serve(self, end: Established, peer: PeerIdentity | None) -> None:
        """Hand the connection to its network filter."""
        self._disarm()
        self._readiness.neither()
        chain, runtime = self._chain, self._runtime
        assert chain is not None
        runtime.stats.downstream_pre_cx_active.value -= 1
        runtime.stats.downstream_cx_active.value += 1
        facts = DownstreamFacts(
            format_address(self._destination),
            format_address(self._peer),
            # As Envoy: none without capture.
            original_destination=self._destination if self._restored else None,
            tls=chain.tls is not None,
            sni=self._hello.server_name or None if self._hello is not None else None,
            peer=peer,
            local_uri_san=chain.local_uri_san() if peer is not None else None,
            started=self._started,
            started_wall=self._started_wall,
            on_closed=runtime.stats.connection_closed,
        )
        self._on_done(self)
        chain.serve(end, facts)

    # The end of those that are not served.

    def _log_refusal(self, termination: str | None, flag: int, transport: str | None = None) -> None:
        info = StreamInfo()
        info.start, info.start_time = self._started, self._started_wall
        info.end = self._deadlines.now()
        info.response_flags = flag
        info.response_code_details = termination
        info.downstream_transport_failure_reason = None if transport is None else transport.replace(" ", "_")
        info.downstream_local_address = format_address(self._destination)
        info.downstream_remote_address = format_address(self._peer)
        info.requested_server_name = self._hello.server_name or None if self._hello is not None else None
        for logger in self._runtime.loggers:
            logger(info)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadlines.disarm(self._deadline)
            self._deadline = None

    def _drop(self) -> None:
        self._runtime.stats.downstream_pre_cx_active.value -= 1
        self._runtime.stats.downstream_cx_destroy.value += 1
        self.close()

    def close(self) -> None:
        self._disarm()
        self._readiness.neither()
        (self._tls or self._sock).close()
        self._on_done(self)


def bind(address: tuple[str, int], *, shared: bool = False) -> socket.socket:
    """A listening socket; `shared` with others of the same address. Raises OSError: `address already in use` and the like."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
