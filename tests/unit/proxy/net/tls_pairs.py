"""Two ends of a connection with TLS on it, the handshake done."""

from __future__ import annotations

import select
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor

from proxy.net.tls_socket import Step, TlsSocket
from proxy.tls.engine import TlsEngine
from proxy.tls.ssl_context import SslContext
from tests.unit.proxy.mesh_ca import MeshCa


def pair() -> tuple[socket.socket, socket.socket]:
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    return left, right


def tls_pair(ca: MeshCa) -> tuple[TlsSocket, TlsSocket]:
    """Server and client, the handshake done."""
    server, client = SslContext(server=True), SslContext(server=False)
    server.load_certificate(*ca.issue("spiffe://cluster.local/ns/a/sa/b"))
    client.verify_peer(ca.root_pem, required=True)
    left, right = pair()
    ends = TlsSocket(left, TlsEngine(server)), TlsSocket(right, TlsEngine(client))
    while [end.handshake() for end in ends] != [Step.DONE, Step.DONE]:
        pass
    return ends


def with_pythons(ca: MeshCa, here: socket.socket, there: socket.socket) -> tuple[TlsSocket, ssl.SSLSocket]:
    """Our server here, and a client there that is Python's."""
    context = SslContext(server=True)
    context.load_certificate(*ca.issue("spiffe://cluster.local/ns/a/sa/b"))
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(cadata=ca.root_pem)
    here.setblocking(False)
    there.setblocking(True)
    end = TlsSocket(here, TlsEngine(context))
    with ThreadPoolExecutor(1) as other:
        wrapped = other.submit(client.wrap_socket, there)
        while end.handshake() is not Step.DONE:
            select.select([here], [], [], 10)
        return end, wrapped.result()
