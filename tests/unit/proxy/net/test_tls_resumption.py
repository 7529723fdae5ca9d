"""TLS sessions are resumed between two sidecars, and are as strict as a full handshake: over real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy import clock
from proxy.data_plane import Services
from tests.unit.proxy.mesh_ca import MeshCa
from tests.unit.proxy.net.test_mesh_hop import Hop, echo_app, get, hop, http_app, inbound, outbound

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ONE_REQUEST: dict[str, Any] = {
    "typed_extension_protocol_options": {
        OPTIONS: {
            "@type": "type.googleapis.com/" + OPTIONS,
            "explicit_http_config": {"http_protocol_options": {}},
            "common_http_protocol_options": {"max_requests_per_connection": 1},
        }
    }
}
IDENTITY = b"URI=spiffe://cluster.local/ns/default/sa/client\r\n"


@asynccontextmanager
async def one_request_each(ca: MeshCa) -> AsyncIterator[Hop]:
    """A hop whose every connection between the sidecars carries one request."""
    async with hop(ca, http_app) as both:
        assert both.client.apply(outbound(both.server_port, **ONE_REQUEST)) == []
        yield both


def _sum(services: Services, name: str) -> int:
    return sum(one.value for one in services.stats.counters() if one.name.endswith(name))


def reused(both: Hop) -> tuple[int, int]:
    """Sessions resumed, as (client, server) count them."""
    name = "ssl.session_reused"
    client, server = both.services
    return _sum(client, name), _sum(server, name)


async def test_the_next_connection_resumes_and_both_identities_are_known(mesh_ca: MeshCa) -> None:
    async with one_request_each(mesh_ca) as both:
        for resumed in range(3):
            assert IDENTITY in await get(both.port)
            assert reused(both) == (resumed, resumed)
        peers = {info.upstream_peer_uri_san for info in both.infos if info.upstream_peer_uri_san}
        assert peers == {"spiffe://cluster.local/ns/default/sa/app"}


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("secret", ["certificate", "roots"])
async def test_a_rotated_secret_ends_resumption(mesh_ca: MeshCa, side: str, secret: str) -> None:
    async with one_request_each(mesh_ca) as both:
        await get(both.port)
        await get(both.port)
        assert reused(both) == (1, 1)
        account = "client" if side == "client" else "app"
        secrets = both.services[side == "server"].secrets
        if secret == "certificate":
            secrets.set_certificate(
                "default", *mesh_ca.issue(f"spiffe://cluster.local/ns/default/sa/{account}")
            )
        else:
            secrets.set_validation("ROOTCA", mesh_ca.root_pem)
        assert IDENTITY in await get(both.port)
        assert reused(both) == (1, 1)
        await get(both.port)
        assert reused(both) == (2, 2)


async def test_a_root_that_is_taken_back_is_not_outlived(mesh_ca: MeshCa) -> None:
    async with one_request_each(mesh_ca) as both:
        await get(both.port)
        both.services[1].secrets.set_validation("ROOTCA", MeshCa().root_pem)
        assert b" 503 " in await get(both.port)
        assert reused(both) == (0, 0)


async def test_the_client_is_checked_on_a_resumed_session(mesh_ca: MeshCa) -> None:
    """The ticket is good still, since only the names expected have changed; the names are not."""
    async with one_request_each(mesh_ca) as both:
        await get(both.port)
        port = both.server_port
        assert both.server.apply(inbound(1, prefix="spiffe://elsewhere/")) == []
        assert both.server_port == port
        assert b" 503 " in await get(both.port)
        assert reused(both) == (1, 0)
        assert _sum(both.services[1], "ssl.fail_verify_san") == 1


async def test_the_server_is_checked_on_a_resumed_session(mesh_ca: MeshCa) -> None:
    async with one_request_each(mesh_ca) as both:
        assert b" 200 " in await get(both.port)
        assert both.client.apply(outbound(both.server_port, account="other", **ONE_REQUEST)) == []
        assert b" 503 " in await get(both.port)


async def test_opaque_connections_resume_too(mesh_ca: MeshCa) -> None:
    async def once(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\0opaque")
        answer = await asyncio.wait_for(reader.readexactly(7), 10)  # and with it the ticket
        writer.write_eof()
        answer += await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return answer

    async with hop(mesh_ca, echo_app) as both:
        for resumed in range(3):
            assert await once(both.port) == b"\0opaque<end>"
            assert reused(both) == (resumed, resumed)
        assert all(info.response_flags == 0 for info in both.infos)


def _client_context(ca: MeshCa, tmp_path: Any) -> ssl.SSLContext:
    chain, key = ca.issue("spiffe://cluster.local/ns/default/sa/client")
    (tmp_path / "client.pem").write_text(key + chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=ca.root_pem)
    context.load_cert_chain(tmp_path / "client.pem")
    context.set_alpn_protocols(["istio-http/1.1"])
    return context


def _ask(context: ssl.SSLContext, port: int, session: ssl.SSLSession | None) -> tuple[bytes, Any]:
    """One request on a connection that offers a session; what came, and the session it left."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=10)
    with context.wrap_socket(raw, session=session) as sock:
        assert sock.session_reused is (session is not None)
        sock.sendall(b"GET / HTTP/1.1\r\nhost: app\r\n\r\n")
        try:
            answer = sock.recv(65536)
        except OSError:
            answer = b""
        return answer, sock.session


async def test_a_client_whose_certificate_has_expired_since_is_refused(
    mesh_ca: MeshCa, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = _client_context(mesh_ca, tmp_path)
    async with hop(mesh_ca, http_app) as both:
        answer, session = await asyncio.to_thread(_ask, context, both.server_port, None)
        assert IDENTITY in answer
        answer, session = await asyncio.to_thread(_ask, context, both.server_port, session)
        assert IDENTITY in answer
        now = clock.wall()
        monkeypatch.setattr(clock, "wall", lambda: now + 3601)
        answer, _ = await asyncio.to_thread(_ask, context, both.server_port, session)
        assert answer == b""
        assert _sum(both.services[1], "ssl.connection_error") == 1
