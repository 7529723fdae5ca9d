"""TLS to servers outside the mesh, over real sockets: which name is sent, and which certificate is accepted."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from proxy.data_plane import DataPlane, Services
from proxy.observability import response_flags as flags
from proxy.tls.sans import dns_name_matches
from tests.unit.proxy.in_memory import address, connection_manager, snapshot, static_cluster

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NAMES = ("good.test", "*.wild.test", "127.0.0.1")


class Server:
    """A TLS server with a certificate for NAMES; `names_sent` is the SNI of each connection."""

    def __init__(self, authority: trustme.CA) -> None:
        self.names_sent: list[str | None] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*NAMES).configure_cert(self.context)
        self.context.sni_callback = lambda _, name, __: self.names_sent.append(name)
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


class Outside:
    """A sidecar whose one cluster is the server."""

    def __init__(self, server: Server, plane: DataPlane, infos: list[Any]) -> None:
        self.server, self.infos = server, infos
        self._port = plane.listeners.bound_address("out")[1]

    async def get(self, host: str) -> int:
        """The status of one request for a host."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return int(answer.split()[1])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def _cluster(port: int, roots: str | None, sans: list[str], sni: str, automatic: dict[str, bool]) -> Any:
    validation: dict[str, Any] = {"trusted_ca": {"filename": roots}} if roots else {}
    if sans:
        validation["match_typed_subject_alt_names"] = [
            {"san_type": "DNS", "matcher": {"exact": name}} for name in sans
        ]
    typed: dict[str, Any] = {
        "@type": TLS,
        "common_tls_context": {"validation_context": validation} if validation else {},
    }
    options = {
        "@type": "type.googleapis.com/" + HTTP,
        "explicit_http_config": {"http_protocol_options": {}},
        "upstream_http_protocol_options": automatic,
    }
    return static_cluster(
        "up",
        ("127.0.0.1", port),
        transport_socket={
            "name": "envoy.transport_sockets.tls",
            "typed_config": typed | ({"sni": sni} if sni else {}),
        },
        typed_extension_protocol_options={HTTP: options},
    )


@asynccontextmanager
async def outside(
    authority: trustme.CA,
    directory: Path,
    *,
    trusted: trustme.CA | None = None,
    verified: bool = True,
    sans: list[str] | None = None,
    sni: str = "",
    **automatic: bool,
) -> AsyncIterator[Outside]:
    roots = directory / "roots.pem"
    (trusted or authority).cert_pem.write_to_path(str(roots))
    server = Server(authority)
    listening = await asyncio.start_server(server.answer, "127.0.0.1", 0, ssl=server.context)
    port = listening.sockets[0].getsockname()[1]
    infos: list[Any] = []
    plane = DataPlane(asyncio.get_running_loop(), Services(access_loggers=lambda _: [infos.append]))
    http = connection_manager([{"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "5s"}}])
    wanted = {
        "name": "out",
        "address": address("127.0.0.1", 0),
        "filter_chains": [{"name": "c", "filters": [http]}],
    }
    try:
        plane.apply(
            snapshot(
                clusters=[_cluster(port, str(roots) if verified else None, sans or [], sni, automatic)],
                listeners=[wanted],
            )
        )
        yield Outside(server, plane, infos)
    finally:
        plane.close()
        listening.close()
        await asyncio.sleep(0)


BOTH: dict[str, Any] = {"auto_sni": True, "auto_san_validation": True}


@pytest.mark.parametrize(
    ("host", "status", "sent"),
    [
        ("good.test", 200, "good.test"),
        ("GOOD.test:8443", 200, "good.test"),
        ("a.wild.test", 200, "a.wild.test"),
        ("a.b.wild.test", 503, "a.b.wild.test"),
        ("bad.test", 503, "bad.test"),
        ("127.0.0.1", 200, None),
        ("127.0.0.2", 503, None),
    ],
)
async def test_the_name_is_that_of_the_requests_host(
    authority: trustme.CA, tmp_path: Path, host: str, status: int, sent: str | None
) -> None:
    async with outside(authority, tmp_path, **BOTH) as world:
        assert (await world.get(host), world.server.names_sent) == (status, [sent])
        if status == 503:
            (info,) = world.infos
            assert info.response_flags == flags.UF
            name = host.partition(":")[0]
            assert f"verify_SAN_list,_expected_SANs:_[{name}]" in info.response_code_details
            assert "remote_connection_failure|TLS_error:" in info.response_code_details


async def test_requests_for_different_hosts_share_no_connection(
    authority: trustme.CA, tmp_path: Path
) -> None:
    async with outside(authority, tmp_path, **BOTH) as world:
        hosts = ("good.test", "a.wild.test", "good.test:80", "GOOD.TEST", "b.wild.test", "a.wild.test")
        assert [await world.get(host) for host in hosts] == [200] * 6
        assert world.server.names_sent == ["good.test", "a.wild.test", "b.wild.test"]


@pytest.mark.parametrize(
    ("options", "hosts", "statuses", "sent"),
    [
        ({"auto_sni": True}, ["bad.test"], [200], ["bad.test"]),
        ({"sni": "fixed.test"}, ["bad.test", "good.test"], [200, 200], ["fixed.test"]),
        ({"sni": "fixed.test", "auto_san_validation": True}, ["good.test", "bad.test"], [200, 503], ["fixed.test"] * 2),
        ({"sans": ["good.test"], "auto_sni": True}, ["bad.test"], [200], ["bad.test"]),
        ({"sans": ["A.wild.test"], "auto_sni": True}, ["bad.test"], [200], ["bad.test"]),
        ({"sans": ["a.b.wild.test"], "auto_sni": True}, ["bad.test"], [503], ["bad.test"]),
        ({"sans": ["other.test"], "auto_sni": True}, ["good.test"], [503], ["good.test"]),
        ({"sans": ["good.test"], **BOTH}, ["good.test", "bad.test"], [200, 503], ["good.test", "bad.test"]),
        ({"verified": False, "auto_sni": True}, ["bad.test"], [200], ["bad.test"]),
        ({"verified": False, **BOTH}, ["good.test"], [503], ["good.test"]),
        ({"trusted": trustme.CA(), **BOTH}, ["good.test"], [503], ["good.test"]),
    ],
)  # fmt: skip
async def test_what_is_verified(
    authority: trustme.CA,
    tmp_path: Path,
    options: dict[str, Any],
    hosts: list[str],
    statuses: list[int],
    sent: list[str],
) -> None:
    async with outside(authority, tmp_path, **options) as world:
        assert [await world.get(host) for host in hosts] == statuses
        assert world.server.names_sent == sent


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("a.test", "a.test", True),
        ("A.test", "a.TEST", True),
        ("*.test", "a.test", True),
        ("*.test", "a.b.test", False),
        ("*.test", ".test", False),
        ("*.test", "test", False),
        ("a*.test", "ab.test", False),
        ("*", "a", False),
        ("a.test", "b.test", False),
    ],
)
def test_names_of_a_certificate(pattern: str, name: str, matches: bool) -> None:
    assert dns_name_matches(pattern, name) is matches
