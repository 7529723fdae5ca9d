"""Cluster DNS: names by the specification, and the wire."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import dns.message
import dns.rcode
import pytest

from node.dns_server import DnsServer, respond
from node.dns_zone import Zone

SERVICES: dict[tuple[str, str], dict[str, Any]] = {
    ("default", "reviews"): {"spec": {"clusterIP": "10.96.1.1", "ports": [{"name": "http", "port": 9080, "protocol": "TCP"}]}},
    ("db", "mysql"): {"spec": {"clusterIP": "None", "ports": [{"name": "sql", "port": 3306}]}},
    ("default", "out"): {"spec": {"type": "ExternalName", "externalName": "example.org"}},
}  # fmt: skip
ENDPOINTS = {
    ("db", "mysql"): {
        "subsets": [{"addresses": [{"ip": "10.244.0.7"}, {"ip": "10.244.0.8", "hostname": "mysql-1"}]}]
    }
}


@pytest.fixture
def zone() -> Zone:
    fixed = {"istiod.istio-system.svc.cluster.local": "10.244.0.1"}
    return Zone(SERVICES.get, ENDPOINTS.get, lambda: ["default", "db", "istio-system"], fixed)


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("reviews.default.svc.cluster.local", "A", ["10.96.1.1"]),
        ("REVIEWS.Default.svc.cluster.LOCAL", "A", ["10.96.1.1"]),
        ("reviews.default.svc.cluster.local", "AAAA", []),
        ("mysql.db.svc.cluster.local", "A", ["10.244.0.7", "10.244.0.8"]),
        ("mysql-1.mysql.db.svc.cluster.local", "A", ["10.244.0.8"]),
        ("10-244-0-7.mysql.db.svc.cluster.local", "A", ["10.244.0.7"]),
        (
            "_http._tcp.reviews.default.svc.cluster.local",
            "SRV",
            ["0 100 9080 reviews.default.svc.cluster.local."],
        ),
        ("out.default.svc.cluster.local", "A", ["example.org."]),
        ("10-244-0-9.default.pod.cluster.local", "A", ["10.244.0.9"]),
        ("istiod.istio-system.svc.cluster.local", "A", ["10.244.0.1"]),
        ("default.svc.cluster.local", "A", []),
        ("svc.cluster.local", "A", []),
        ("cluster.local", "A", []),
    ],
)
def test_names_that_exist(zone: Zone, name: str, kind: str, data: list[str]) -> None:
    answer = zone.lookup(name, kind)
    assert (answer.ours, answer.exists) == (True, True)
    assert [record[2] for record in answer.records] == data


@pytest.mark.parametrize(
    "name",
    [
        "nobody.default.svc.cluster.local",
        "reviews.nowhere.svc.cluster.local",
        "nowhere.svc.cluster.local",
        "x.reviews.default.svc.cluster.local",
        "nobody.mysql.db.svc.cluster.local",
        "a.b.mysql.db.svc.cluster.local",
        "_no._tcp.reviews.default.svc.cluster.local",
        "10-244-0-999.default.pod.cluster.local",
        "reviews.default.svc.default.svc.cluster.local",
        "elsewhere.cluster.local",
    ],
)
def test_names_that_do_not(zone: Zone, name: str) -> None:
    answer = zone.lookup(name, "A")
    assert (answer.ours, answer.exists) == (True, False)


def ask(zone: Zone, name: str, kind: str = "A", limit: int | None = None) -> dns.message.Message:
    wire = respond(zone, dns.message.make_query(name, kind).to_wire(), limit)
    assert wire is not None
    return dns.message.from_wire(wire)


def test_answers_carry_code_authority_and_spelling(zone: Zone) -> None:
    found = ask(zone, "Reviews.default.svc.cluster.local.")
    assert found.answer[0].to_text() == "Reviews.default.svc.cluster.local. 5 IN A 10.96.1.1"
    assert "AA" in dns.flags.to_text(found.flags)
    assert ask(zone, "nobody.default.svc.cluster.local.").rcode() == dns.rcode.NXDOMAIN
    assert ask(zone, "example.org.").rcode() == dns.rcode.SERVFAIL


def test_too_long_for_udp_is_truncated(zone: Zone) -> None:
    many = [{"ip": f"10.244.1.{n}"} for n in range(100)]
    ENDPOINTS[("db", "mysql")]["subsets"][0]["addresses"], kept = (
        many,
        ENDPOINTS[("db", "mysql")]["subsets"][0]["addresses"],
    )
    try:
        short = ask(zone, "mysql.db.svc.cluster.local.", limit=512)
        assert "TC" in dns.flags.to_text(short.flags)
        assert not short.answer
        assert len(ask(zone, "mysql.db.svc.cluster.local.").answer[0]) == 100
    finally:
        ENDPOINTS[("db", "mysql")]["subsets"][0]["addresses"] = kept


@pytest.mark.parametrize("noise", [b"", b"\x00", b"\xff" * 40])
def test_noise_is_not_answered(zone: Zone, noise: bytes) -> None:
    assert respond(zone, noise) is None


async def test_both_transports(zone: Zone) -> None:
    server = DnsServer(zone)
    port = await server.start("127.0.0.1", 0)
    query = dns.message.make_query("reviews.default.svc.cluster.local.", "A").to_wire()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):  # one connection, several questions
            writer.write(struct.pack("!H", len(query)) + query)
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            assert dns.message.from_wire(await reader.readexactly(size)).answer
        writer.close()
        await writer.wait_closed()
        loop = asyncio.get_running_loop()
        heard: asyncio.Future[bytes] = loop.create_future()

        class Client(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                heard.set_result(data)

        transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=("127.0.0.1", port))
        transport.sendto(query)
        assert dns.message.from_wire(await asyncio.wait_for(heard, 5)).answer
        transport.close()
    finally:
        await server.close()
