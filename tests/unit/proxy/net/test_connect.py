"""Connecting over real sockets: one callback, never from inside `connect`, none after `cancel`."""

from __future__ import annotations

import asyncio
import datetime
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.deadlines import Deadlines
from proxy.net.connect import SocketConnecting, SocketConnector, _keep_alive
from proxy.net.tls_socket import Step, TlsSocket
from proxy.tls.contexts import Parameters, TlsContext
from proxy.tls.engine import TlsEngine
from proxy.tls.sans import SanMatcher
from proxy.tls.secrets import SecretStore
from proxy.tls.ssl_context import SslContext
from proxy.upstream.connector import ConnectSettings, Keepalive
from proxy.upstream.failure import ResetReason, UpstreamReset
from proxy.upstream.transport import NO_OPTIONS, RAW, Transport


class Outcome:
    """What a connector reported."""

    def __init__(self) -> None:
        self.found: list[Any] = []
        self.happened = asyncio.Event()

    def report(self, what: Any) -> None:
        self.found.append(what)
        self.happened.set()


@pytest.fixture
async def deadlines() -> AsyncIterator[Deadlines]:
    loop = asyncio.get_running_loop()
    found = Deadlines(loop.call_later, loop.time)
    yield found
    found.close()


Connect = Callable[..., SocketConnecting]


@pytest.fixture
async def connect(deadlines: Deadlines) -> Connect:
    connector = SocketConnector(asyncio.get_running_loop(), deadlines)

    def start(address: tuple[str, int], outcome: Outcome, timeout: float = 5.0) -> SocketConnecting:
        settings = ConnectSettings(timeout)
        return connector.connect(address, RAW, NO_OPTIONS, settings, outcome.report, outcome.report)

    return start


async def test_a_connection_is_reported_once_and_later(connect: Connect, deadlines: Deadlines) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        outcome = Outcome()
        connect(server.getsockname(), outcome)
        assert not outcome.found
        await outcome.happened.wait()
        (sock,) = outcome.found
        assert sock.getpeername() == server.getsockname()
        sock.close()
    assert "armed=0" in repr(deadlines)


async def test_nothing_is_reported_after_cancel(connect: Connect, deadlines: Deadlines) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        outcome = Outcome()
        connect(server.getsockname(), outcome).cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not outcome.found
    assert "armed=0" in repr(deadlines)


async def test_nobody_listens(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    outcome = Outcome()
    connect(address, outcome)
    assert not outcome.found
    await outcome.happened.wait()
    (failure,) = outcome.found
    assert isinstance(failure, UpstreamReset)
    assert failure.reason is ResetReason.REMOTE_CONNECTION_FAILURE
    assert failure.transport == "delayed connect error: Connection refused"


async def test_nobody_accepts(connect: Connect) -> None:
    """A full backlog: the kernel drops what comes, and the timeout ends the wait."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        full = [socket.socket() for _ in range(4)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        outcome = Outcome()
        connect(server.getsockname(), outcome, timeout=0.05)
        await outcome.happened.wait()
        for one in full:
            one.close()
    assert outcome.found[0].reason is ResetReason.CONNECTION_TIMEOUT


def test_keepalive_probes_are_set_on_the_socket() -> None:
    options = (socket.TCP_KEEPCNT, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL)
    with socket.socket() as sock:
        _keep_alive(sock, Keepalive(3, 60, 7))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [3, 60, 7]
    with socket.socket() as sock:
        usual = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        _keep_alive(sock, Keepalive())
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert [sock.getsockopt(socket.IPPROTO_TCP, option) for option in options] == usual
        with pytest.raises(OSError, match="Invalid argument"):
            _keep_alive(sock, Keepalive(2**32 - 1, 60, 7))


def _unreadable_server() -> SslContext:
    """Its certificate names an address of three bytes, which OpenSSL does not mind."""
    key = ec.generate_private_key(ec.SECP256R1())
    now, name = datetime.datetime.now(datetime.UTC), x509.Name([])
    names = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), bytes.fromhex("30058703010203"))
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(1))
    leaf = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = SslContext(server=True)
    context.load_certificate(leaf.public_bytes(pem).decode(), private.decode())
    return context


async def test_a_certificate_that_cannot_be_read_fails_the_connection(deadlines: Deadlines) -> None:
    """At once, though nobody verifies it; else it would be looked at again and again until the timeout."""
    tls = TlsContext(Parameters(server=False), SecretStore(), SanMatcher(()))
    outcome = Outcome()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connector = SocketConnector(asyncio.get_running_loop(), deadlines)
        connector.connect(
            listener.getsockname(),
            Transport("tls", tls),
            NO_OPTIONS,
            ConnectSettings(5.0),
            outcome.report,
            outcome.report,
        )
        sock, _ = listener.accept()
        sock.setblocking(False)
        server = TlsSocket(sock, TlsEngine(_unreadable_server()))
        while server.handshake() is not Step.DONE:
            await asyncio.sleep(0)
        await asyncio.wait_for(outcome.happened.wait(), 2)
        server.close()
    (failure,) = outcome.found
    assert isinstance(failure, UpstreamReset)
    assert failure.transport is not None
    assert "CERTIFICATE_VERIFY_FAILED:not a certificate" in failure.transport
