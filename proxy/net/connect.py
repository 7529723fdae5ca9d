"""Opens upstream connections: TCP connect, then the TLS handshake, under one timeout.

Implements `proxy.upstream.connector.Connector`. Decides nothing but the words of a failure, which are Envoy's.
Invariant: exactly one callback per connection, always from the event loop, never from inside `connect`.
Reference: Envoy source/common/network/connection_impl.cc, source/common/tls/ssl_socket.cc (failure reasons).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable

from proxy import clock
from proxy.deadlines import Deadline, Deadlines
from proxy.net.readiness import Readiness
from proxy.net.tls_socket import Established, Step, TlsSocket
from proxy.tls.engine import TlsEngine
from proxy.tls.openssl import TlsError
from proxy.tls.peer import peer_identity, resumption_refusal
from proxy.tls.secrets import SecretError
from proxy.upstream.connector import Address, ConnectSettings, Keepalive
from proxy.upstream.failure import ResetReason, UpstreamReset
from proxy.upstream.transport import TlsOptions, Transport

OnConnected = Callable[[Established], None]
OnFailed = Callable[[UpstreamReset], None]

_TCP_ESTABLISHED = 1  # enum in netinet/tcp.h


class SocketConnector:
    """See `Connector`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self._loop = loop
        self._deadlines = deadlines

    def connect(
        self,
        address: Address,
        transport: Transport,
        options: TlsOptions,
        settings: ConnectSettings,
        on_connected: OnConnected,
        on_failed: OnFailed,
    ) -> SocketConnecting:
        connecting = SocketConnecting(
            self._loop, self._deadlines, transport, options, on_connected, on_failed
        )
        connecting.start(address, settings)
        return connecting


class SocketConnecting:
    """One connection on its way."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        transport: Transport,
        options: TlsOptions,
        on_connected: OnConnected,
        on_failed: OnFailed,
    ) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self._transport = transport
        self._options = options
        self._address: Address | None = None
        self._on_connected = on_connected
        self._on_failed = on_failed
        self._deadline: Deadline | None = None
        self._sock: socket.socket | TlsSocket | None = None
        self._readiness: Readiness | None = None
        self._done = False

    def start(self, address: Address, settings: ConnectSettings) -> None:
        self._address = address
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        try:
            self._sock = sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if settings.keepalive is not None:
                _keep_alive(sock, settings.keepalive)
            if settings.source is not None:
                _bind(sock, settings.source)
            error = sock.connect_ex(address)
        except OSError as failure:
            self._fail_soon(_local_failure(failure))
            return
        self._deadline = self._deadlines.after(settings.timeout, self._timed_out)
        if error not in (0, errno.EINPROGRESS):
            self._fail_soon(_connect_error(error))
        elif _is_connected(sock):
            # On one machine the kernel has finished by now: a request that waits need not wait for a turn of epoll.
            self._loop.call_soon(self._tcp_connected)
        else:
            self._readiness = Readiness(self._loop, sock.fileno())
            self._readiness.writable(self._tcp_connected)

    def _tcp_connected(self) -> None:
        sock = self._sock
        if not isinstance(sock, socket.socket):
            return  # cancelled meanwhile
        if self._readiness is not None:
            self._readiness.neither()
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._fail(_connect_error(error))
            return
        tls = self._transport.tls
        if tls is None:
            self._succeed(sock)
            return
        try:
            context = tls.current(self._options.alpn)
            session = None
            if tls.sessions is not None:
                session = tls.sessions.of((self._address, self._options), context, clock.wall())
            engine = TlsEngine(context, self._options.server_name or tls.sni or None, session)
        except SecretError:
            text = "TLS error: Secret is not supplied by SDS"
            self._fail(UpstreamReset(ResetReason.LOCAL_CONNECTION_FAILURE, text))
            return
        except TlsError as failure:
            self._fail(_tls_failure(failure))
            return
        self._sock = TlsSocket(sock, engine)
        self._readiness = self._readiness or Readiness(self._loop, sock.fileno())
        self._handshake()

    def _handshake(self) -> None:
        sock, tls = self._sock, self._transport.tls
        assert isinstance(sock, TlsSocket)
        assert tls is not None
        assert self._readiness is not None
        now, engine = clock.wall(), sock.engine
        try:
            step = sock.handshake()
            if step is Step.DONE:
                engine.peer = peer_identity(engine, now)
        except OSError as failure:
            self._fail(_tls_failure(failure))
            return
        if step is Step.READ:
            self._readiness.readable(self._handshake)
            return
        if step is Step.WRITE:
            self._readiness.writable(self._handshake)
            return
        peer = engine.peer
        refusal = resumption_refusal(engine, peer, now) or tls.refusal(peer, self._options.expected_name)
        if refusal is None:
            self._succeed(sock)
        else:
            text = f"TLS_error:|SSL routines:CERTIFICATE_VERIFY_FAILED:{refusal}:TLS_error_end"
            self._fail(UpstreamReset(ResetReason.REMOTE_CONNECTION_FAILURE, text))

    def _succeed(self, end: Established) -> None:
        if self._readiness is not None:
            self._readiness.neither()
        self._sock = None
        self._done = True
        self._disarm()
        self._on_connected(end)

    def _fail_soon(self, failure: UpstreamReset) -> None:
        self._loop.call_soon(self._fail, failure)

    def _fail(self, failure: UpstreamReset) -> None:
        if not self._done:
            self.cancel()
            self._on_failed(failure)

    def _timed_out(self) -> None:
        self._fail(UpstreamReset(ResetReason.CONNECTION_TIMEOUT))

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadlines.disarm(self._deadline)
            self._deadline = None

    def cancel(self) -> None:
        self._done = True
        self._disarm()
        sock, self._sock = self._sock, None
        if sock is not None:
            if self._readiness is not None:
                self._readiness.neither()
            sock.close()


def _is_connected(sock: socket.socket) -> bool:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_ESTABLISHED


def _keep_alive(sock: socket.socket, probes: Keepalive) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPCNT, probes.probes),
        (socket.TCP_KEEPIDLE, probes.time),
        (socket.TCP_KEEPINTVL, probes.interval),
    ):
        if value is not None:
            # As bytes: what is beyond a C int is the kernel's to refuse, as for Envoy.
            sock.setsockopt(socket.IPPROTO_TCP, option, value.to_bytes(4, sys.byteorder))


def _bind(sock: socket.socket, source: Address) -> None:
    if source[1] == 0:
        # The kernel then picks the port at connect time and may share it between destinations.
        sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    sock.bind(source)


def _connect_error(error: int) -> UpstreamReset:
    return UpstreamReset(
        ResetReason.REMOTE_CONNECTION_FAILURE, f"delayed connect error: {os.strerror(error)}"
    )


def _local_failure(failure: OSError) -> UpstreamReset:
    return UpstreamReset(ResetReason.LOCAL_CONNECTION_FAILURE, failure.strerror or str(failure))


def _tls_failure(failure: OSError) -> UpstreamReset:
    """Envoy's `TLS_error:|CODE:SSL routines:OPENSSL_internal:REASON:TLS_error_end`, without BoringSSL's code."""
    if isinstance(failure, TlsError):
        reason = failure.reason or str(failure)
        if failure.detail:
            reason = f"{reason}:{failure.detail}"
        text = f"TLS_error:|SSL routines:{reason}:TLS_error_end"
        return UpstreamReset(ResetReason.REMOTE_CONNECTION_FAILURE, text)
    if isinstance(failure, ConnectionError):
        return UpstreamReset(ResetReason.CONNECTION_TERMINATION)
    return UpstreamReset(ResetReason.LOCAL_CONNECTION_FAILURE, str(failure))
