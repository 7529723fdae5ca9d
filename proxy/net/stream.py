"""A connection that is awaited: for exchanges off the path of requests, with the control plane or for an app's probe.

Knows nothing of what is said. Answers a `Stream` or raises OSError, TlsError among them, in the words of who refused.
Reference: RFC 9110 §4.3.4 and §4.3.5 (the certificate must have the name or the address that was asked for), RFC 6066 §3 (no SNI for addresses).
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address

from proxy import clock
from proxy.net.connection import Connection
from proxy.net.readiness import Readiness
from proxy.net.tls_connection import connection_on
from proxy.net.tls_socket import Established, Step, TlsSocket
from proxy.tls.engine import TlsEngine
from proxy.tls.openssl import TlsError
from proxy.tls.peer import peer_identity
from proxy.tls.sans import name_refusal
from proxy.tls.ssl_context import SslContext


class Stream:
    """`reader` has what the peer says, at most `limit` bytes of it at a time where it looks for the end of a line.

    Of what nobody reads it takes twice that and a burst; then the peer has to wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, end: Established, limit: int) -> None:
        self.reader = asyncio.StreamReader(limit, loop)
        self._connection = connection_on(loop, end, self)
        self.reader.set_transport(_Reading(self._connection))
        self._connection.start()

    @property
    def at_rest(self) -> bool:
        """Whether the peer has said nothing that is not read, and not ended."""
        reader = self.reader
        unread = bool(reader._buffer)  # type: ignore[attr-defined]  # of which StreamReader tells nothing
        return not unread and not reader.at_eof() and reader.exception() is None

    def write(self, data: bytes) -> None:
        """Send it as the kernel takes it; a failure is told by `reader`."""
        self._connection.write(data)

    def close(self) -> None:
        """Let go of the connection at once."""
        self._connection.close()

    # What the connection tells.

    def on_data(self, data: bytes) -> None:
        self.reader.feed_data(data)

    def on_burst(self, pieces: list[bytes]) -> None:
        self.reader.feed_data(b"".join(pieces))

    def on_eof(self) -> None:
        self.reader.feed_eof()

    def on_error(self, error: OSError) -> None:
        self.reader.set_exception(error)

    def on_drain(self) -> None: ...


class _Reading(asyncio.ReadTransport):
    """What a StreamReader wants to know of where its bytes come from."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection

    def pause_reading(self) -> None:
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        self._connection.resume_reading()


async def open_stream(
    host: str, port: int, tls: SslContext | None = None, *, source_address: str | None = None, limit: int
) -> Stream:
    """Connect to a name or an address. Where `tls` verifies its peer, the certificate must be `host`'s."""
    loop = asyncio.get_running_loop()
    sock = await _connected(loop, host, port, source_address)
    if tls is None:
        return Stream(loop, sock, limit)
    name, is_address = _as_in_certificates(host)
    try:
        end = TlsSocket(sock, TlsEngine(tls, None if is_address else name))
    except BaseException:
        sock.close()
        raise
    try:
        await _shake_hands(loop, end)
        if tls.verifies:
            peer = peer_identity(end.engine, clock.wall())
            refusal = name_refusal(peer, name, is_address=is_address)
            if refusal is not None:
                raise TlsError("CERTIFICATE_VERIFY_FAILED", refusal)
        return Stream(loop, end, limit)
    except BaseException:
        end.close()
        raise


async def _connected(
    loop: asyncio.AbstractEventLoop, host: str, port: int, source_address: str | None
) -> socket.socket:
    """To the first address of `host` that answers."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source_address is not None:
                sock.bind((source_address, 0))
            await loop.sock_connect(sock, address)
            return sock
        except OSError as error:
            sock.close()
            failure = failure or error
        except BaseException:
            sock.close()
            raise
    raise failure or OSError(f"no address of {host}")


async def _shake_hands(loop: asyncio.AbstractEventLoop, end: TlsSocket) -> None:
    readiness, ready = Readiness(loop, end.sock.fileno()), asyncio.Event()
    try:
        while (step := end.handshake()) is not Step.DONE:
            ready.clear()
            (readiness.readable if step is Step.READ else readiness.writable)(ready.set)
            await ready.wait()
    finally:
        readiness.neither()


def _as_in_certificates(host: str) -> tuple[str, bool]:
    """The name as SNI and certificates have it, without the root's dot; an address in its usual form, and that it is one."""
    try:
        return str(ip_address(host)), True
    except ValueError:
        return host.removesuffix("."), False
