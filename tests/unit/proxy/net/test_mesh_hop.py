"""Two data planes over real sockets: client → sidecar → mTLS → sidecar → app, HTTP and opaque TCP."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.data_plane import DataPlane, Services
from proxy.observability.access_log_format import compile_text
from proxy.tls.secrets import SecretStore
from tests.unit.proxy.in_memory import address, connection_manager, snapshot, static_cluster
from tests.unit.proxy.mesh_ca import MeshCa

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
FILTER = "type.googleapis.com/envoy.extensions.filters.listener."
INSPECTORS = [
    {"name": "tls", "typed_config": {"@type": FILTER + "tls_inspector.v3.TlsInspector"}},
    {"name": "http", "typed_config": {"@type": FILTER + "http_inspector.v3.HttpInspector"}},
]
SOURCE = {"api_config_source": {"api_type": "REST", "cluster_names": ["x"], "transport_api_version": "V3"}}
ALL = {"match": {"prefix": "/"}, "name": "default"}


def tls(matcher: dict[str, str], *, server: bool, alpn: list[str]) -> dict[str, Any]:
    common = {
        "alpn_protocols": alpn,
        "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": SOURCE}],
        "combined_validation_context": {
            "default_validation_context": {
                "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": matcher}]
            },
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": SOURCE},
        },
    }
    kind = "DownstreamTlsContext" if server else "UpstreamTlsContext"
    typed: dict[str, Any] = {"@type": TLS + kind, "common_tls_context": common}
    typed |= {"require_client_certificate": True} if server else {"sni": "outbound_.80_._.app"}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def tcp_proxy(cluster: str) -> dict[str, Any]:
    typed = {"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"}
    return {"name": "tcp", "typed_config": {**typed, "stat_prefix": "t", "cluster": cluster}}


def secrets(ca: MeshCa, account: str) -> SecretStore:
    store = SecretStore()
    store.set_certificate("default", *ca.issue(f"spiffe://cluster.local/ns/default/sa/{account}"))
    store.set_validation("ROOTCA", ca.root_pem)
    return store


def inbound(app_port: int, *, prefix: str = "spiffe://cluster.local/") -> Any:
    ours = tls({"prefix": prefix}, server=True, alpn=["h2", "http/1.1"])
    http = connection_manager(
        [{**ALL, "route": {"cluster": "app", "timeout": "0s"}}],
        forward_client_cert_details="APPEND_FORWARD",
        set_current_client_cert_details={"subject": True, "uri": True},
        server_name="istio-envoy",
    )
    chains = [
        {"name": "http", "filter_chain_match": {"transport_protocol": "tls", "application_protocols": ["istio-http/1.1"]}, "transport_socket": ours, "filters": [http]},
        {"name": "tcp", "filter_chain_match": {"transport_protocol": "tls", "application_protocols": ["istio"]}, "transport_socket": ours, "filters": [tcp_proxy("app")]},
    ]  # fmt: skip
    wanted = {
        "name": "in", "address": address("127.0.0.1", 0), "traffic_direction": "INBOUND",
        "listener_filters": INSPECTORS, "listener_filters_timeout": "0s", "filter_chains": chains,
    }  # fmt: skip
    bind = {"source_address": {"address": "127.0.0.6", "port_value": 0}}
    return snapshot(
        clusters=[static_cluster("app", ("127.0.0.1", app_port), upstream_bind_config=bind)],
        listeners=[wanted],
    )


def outbound(port: int, *, account: str = "app", **fields: Any) -> Any:
    exact = {"exact": f"spiffe://cluster.local/ns/default/sa/{account}"}
    alpn = {
        "name": "istio.alpn",
        "typed_config": {
            "@type": "type.googleapis.com/istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig",
            "alpn_override": [
                {"upstream_protocol": "HTTP11", "alpn_override": ["istio-http/1.1", "istio", "http/1.1"]}
            ],
        },
    }
    http = connection_manager([{**ALL, "route": {"cluster": "remote", "timeout": "0s"}}])
    http["typed_config"]["http_filters"].insert(0, alpn)
    http["typed_config"]["http_filters"] = [alpn, http["typed_config"]["http_filters"][-1]]
    wanted = {
        "name": "out", "address": address("127.0.0.1", 0), "listener_filters": INSPECTORS, "listener_filters_timeout": "0s",
        "filter_chains": [{"name": "http", "filter_chain_match": {"transport_protocol": "raw_buffer", "application_protocols": ["http/1.1", "h2c"]}, "filters": [http]}],
        "default_filter_chain": {"name": "tcp", "filters": [tcp_proxy("remote")]},
    }  # fmt: skip
    ours = tls(exact, server=False, alpn=["istio-peer-exchange", "istio"])
    return snapshot(
        clusters=[static_cluster("remote", ("127.0.0.1", port), transport_socket=ours, **fields)],
        listeners=[wanted],
    )


class Hop:
    def __init__(
        self, client: DataPlane, server: DataPlane, infos: list[Any], services: tuple[Services, Services]
    ) -> None:
        """`services`: those of client and server."""
        self.client, self.server, self.infos, self.services = client, server, infos, services

    @property
    def port(self) -> int:
        return self.client.listeners.bound_address("out")[1]

    @property
    def server_port(self) -> int:
        return self.server.listeners.bound_address("in")[1]


@asynccontextmanager
async def hop(
    ca: MeshCa, app: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **server: Any
) -> AsyncIterator[Hop]:
    """The whole hop, torn down at the end. `account` changes whom the client expects."""
    account = server.pop("account", "app")
    infos: list[Any] = []
    loop = asyncio.get_running_loop()
    listening = await asyncio.start_server(app, "127.0.0.1", 0)
    app_port = listening.sockets[0].getsockname()[1]
    server_services = Services(
        secrets=secrets(ca, "app"),
        local_uri_san=lambda: "spiffe://cluster.local/ns/default/sa/app",
        access_loggers=lambda _: [infos.append],
    )
    theirs = DataPlane(loop, server_services)
    assert theirs.apply(inbound(app_port, **server)) == []
    client_services = Services(secrets=secrets(ca, "client"), access_loggers=lambda _: [infos.append])
    mine = DataPlane(loop, client_services)
    assert mine.apply(outbound(theirs.listeners.bound_address("in")[1], account=account)) == []
    try:
        yield Hop(mine, theirs, infos, (client_services, server_services))
    finally:
        mine.close()
        theirs.close()
        listening.close()
        await listening.wait_closed()


async def http_app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            peer = writer.get_extra_info("peername")[0].encode()
            body = head + b"peer: " + peer
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def echo_app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"<end>")
    writer.close()


async def get(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def test_http_over_mutual_tls(mesh_ca: MeshCa) -> None:
    async with hop(mesh_ca, http_app) as both:
        answer = await get(both.port)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"server: envoy\r\n" in answer
    assert b"x-forwarded-proto: http\r\n" in answer
    assert b"x-forwarded-client-cert: By=spiffe://cluster.local/ns/default/sa/app;Hash=" in answer
    assert b';Subject="";URI=spiffe://cluster.local/ns/default/sa/client\r\n' in answer
    assert answer.endswith(b"peer: 127.0.0.6")
    server_side = next(info for info in both.infos if info.downstream_peer_uri_san)
    assert server_side.requested_server_name == "outbound_.80_._.app"
    client_side = next(info for info in both.infos if info.upstream_peer_uri_san)
    assert client_side.upstream_peer_uri_san == "spiffe://cluster.local/ns/default/sa/app"


async def test_the_wrong_server_identity_is_refused(mesh_ca: MeshCa) -> None:
    async with hop(mesh_ca, http_app, account="somebody-else") as both:
        answer = await get(both.port)
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(b"reset reason: remote connection failure")
    assert any("CERTIFICATE_VERIFY_FAILED" in (i.upstream_transport_failure_reason or "") for i in both.infos)


async def test_the_wrong_client_identity_is_refused(mesh_ca: MeshCa) -> None:
    async with hop(mesh_ca, http_app, prefix="spiffe://other.domain/") as both:
        answer = await get(both.port)
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        refused = both.server.listeners.listeners["in"].stats.ssl_fail_verify_san.value
    assert refused >= 1


async def test_plaintext_to_a_strict_port_is_closed_without_an_answer(mesh_ca: MeshCa) -> None:
    async with hop(mesh_ca, http_app) as both:
        reader, writer = await asyncio.open_connection("127.0.0.1", both.server_port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        except ConnectionResetError:
            pass
        writer.close()
        stats = both.server.listeners.listeners["in"].stats
        assert stats.no_filter_chain_match.value == 1


async def test_opaque_tcp_with_half_close(mesh_ca: MeshCa) -> None:
    data = bytes(range(256)) * 8000
    async with hop(mesh_ca, echo_app) as both:
        reader, writer = await asyncio.open_connection("127.0.0.1", both.port)
        writer.write(b"\x00opaque")
        writer.write(data)
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert answer == b"\x00opaque" + data + b"<end>"
        for plane in (both.client, both.server):
            while plane.listeners.active_connections:
                await asyncio.sleep(0)
    assert {info.upstream_cluster for info in both.infos} == {"remote", "app"}
    assert [info.response_flags for info in both.infos] == [0, 0], "an orderly end over TLS is no failure"


async def test_a_reset_crosses_the_hop_as_a_reset(mesh_ca: MeshCa) -> None:
    seen: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    async def app(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(7))
        try:
            await reader.read()
        except ConnectionResetError as error:
            seen.set_result(error)
        else:
            seen.set_result(None)
        finally:
            writer.close()

    async with hop(mesh_ca, app) as both:
        reader, writer = await asyncio.open_connection("127.0.0.1", both.port)
        writer.write(b"\x00opaque")
        await asyncio.wait_for(reader.readexactly(7), 10)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()
        assert isinstance(await asyncio.wait_for(seen, 10), ConnectionResetError)


async def test_a_long_request_line_is_still_http(mesh_ca: MeshCa) -> None:
    async with hop(mesh_ca, http_app) as both:
        reader, writer = await asyncio.open_connection("127.0.0.1", both.port)
        target = b"/" + b"p" * 40_000
        writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"GET " + target in answer


@pytest.mark.parametrize("piece", [1, 7])
async def test_a_client_hello_may_arrive_in_pieces(mesh_ca: MeshCa, piece: int) -> None:
    async with hop(mesh_ca, http_app) as both:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=mesh_ca.root_pem)
        context.set_alpn_protocols(["istio-http/1.1"])
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls_object = context.wrap_bio(incoming, outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            tls_object.do_handshake()
        hello = outgoing.read()
        reader, writer = await asyncio.open_connection("127.0.0.1", both.server_port)
        for at in range(0, 70, piece):
            writer.write(hello[at : at + piece])
            await writer.drain()
        writer.write(hello[at + piece :])
        assert (await asyncio.wait_for(reader.read(1), 10)) == b"\x16", "the server answers the handshake"
        writer.close()


async def test_why_a_client_was_refused_is_in_the_log(mesh_ca: MeshCa) -> None:
    async with hop(mesh_ca, http_app) as both:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cadata=mesh_ca.root_pem)
        context.set_alpn_protocols(["istio-http/1.1"])
        reader, writer = await asyncio.open_connection("127.0.0.1", both.server_port, ssl=context)
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            await asyncio.wait_for(reader.read(1), 10)
        writer.close()
        (refused,) = both.infos
        why = "TLS_error:|PEER_DID_NOT_RETURN_A_CERTIFICATE:TLS_error_end"
        assert refused.downstream_transport_failure_reason == why
        assert compile_text("%DOWNSTREAM_TRANSPORT_FAILURE_REASON%").render(refused).strip() == why
