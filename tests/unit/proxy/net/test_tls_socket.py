"""A handshake over a socket that takes and gives what the test wants."""

from __future__ import annotations

from itertools import pairwise

import pytest

from proxy.net.tls_socket import Step, TlsSocket
from proxy.tls.engine import TlsEngine
from proxy.tls.openssl import TlsError
from proxy.tls.ssl_context import SslContext
from tests.unit.proxy.in_memory import FakeLoop, FakeSocket
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.tls.engines import version


@pytest.fixture
def ends(mesh_ca: MeshCa) -> tuple[TlsSocket, TlsSocket]:
    """Client and server; whoever may not send waits for it."""
    server, client = SslContext(server=True), SslContext(server=False)
    server.load_certificate(*mesh_ca.issue("spiffe://cluster.local/ns/a/sa/b"))
    client.verify_peer(mesh_ca.root_pem, required=True)
    return _end(client), _end(server)


def _end(context: SslContext) -> TlsSocket:
    return TlsSocket(FakeSocket(FakeLoop()), TlsEngine(context))  # type: ignore[arg-type]


def _pass_on(source: TlsSocket, target: TlsSocket, size: int | None = None) -> None:
    said = source.sock.take()  # type: ignore[attr-defined]
    size = size or len(said) or 1
    target.sock.incoming += [said[at : at + size] for at in range(0, len(said), size)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [1, 7, 100, None])
def test_it_waits_for_what_comes_in_portions(ends: tuple[TlsSocket, TlsSocket], size: int | None) -> None:
    client, server = ends
    steps = []
    for one, other in pairwise([client, server, client, server]):
        steps.append(one.handshake())
        _pass_on(one, other, size)
    steps.append(server.handshake())
    assert steps == [Step.READ, Step.READ, Step.DONE, Step.DONE]
    assert version(client.engine) == version(server.engine) == "TLSv1.3"


def test_what_the_kernel_does_not_take_waits(ends: tuple[TlsSocket, TlsSocket]) -> None:
    client, server = ends
    client.handshake()
    _pass_on(client, server)
    sock = server.sock
    sock.capacity = 100  # type: ignore[attr-defined]
    assert server.handshake() is Step.WRITE
    assert server.handshake() is Step.WRITE
    sock.capacity = None  # type: ignore[attr-defined]
    assert server.handshake() is Step.READ
    _pass_on(server, client)
    assert client.handshake() is Step.DONE
    _pass_on(client, server)
    sock.capacity = 10  # type: ignore[attr-defined]
    assert server.handshake() is Step.WRITE, "the ticket is on its way"
    sock.capacity = None  # type: ignore[attr-defined]
    assert server.handshake() is Step.DONE


def test_a_peer_that_leaves(ends: tuple[TlsSocket, TlsSocket]) -> None:
    client, _ = ends
    assert client.handshake() is Step.READ
    client.sock.incoming.append(b"")  # type: ignore[attr-defined]
    with pytest.raises(TlsError, match="UNEXPECTED_EOF"):
        client.handshake()


def test_a_peer_that_is_refused_is_told(ends: tuple[TlsSocket, TlsSocket]) -> None:
    _, server = ends
    stranger = SslContext(server=False)
    stranger.verify_peer(MeshCa().root_pem, required=True)
    client = _end(stranger)
    client.handshake()
    _pass_on(client, server)
    server.handshake()
    _pass_on(server, client)
    with pytest.raises(TlsError, match="CERTIFICATE_VERIFY_FAILED: "):
        client.handshake()
    _pass_on(client, server)
    with pytest.raises(TlsError, match="ALERT"):
        server.handshake()
    client.close()
    assert client.sock.closed  # type: ignore[attr-defined]


def test_a_peer_that_does_not_speak_tls(ends: tuple[TlsSocket, TlsSocket]) -> None:
    _, server = ends
    server.sock.incoming.append(b"GET / HTTP/1.1\r\n\r\n")  # type: ignore[attr-defined]
    with pytest.raises(TlsError, match="HTTP_REQUEST"):
        server.handshake()
