"""The cluster's name server: `dns_zone` over UDP and TCP, in the wire format of dnspython.

Names of other domains get SERVFAIL at once: the mesh has no way out of the machine, and waiting for nothing helps nobody.
Reference: RFC 1035, RFC 6891 (EDNS payload size).
"""

from __future__ import annotations

import asyncio
import struct
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from node.dns_zone import TTL, Answer, Zone

PORT = 53
TCP_IDLE_SECONDS = 10.0
UDP_BYTES = 512


def respond(zone: Zone, request: bytes, limit: int | None = None) -> bytes | None:
    """The answer to one message; None when there is nothing to answer to. `limit` is what UDP can carry, in bytes."""
    try:
        query = dns.message.from_wire(request)
        response = dns.message.make_response(query, recursion_available=True)
    except (dns.exception.DNSException, ValueError):
        return None
    if len(query.question) != 1:
        response.set_rcode(dns.rcode.FORMERR)
        return response.to_wire()
    question = query.question[0]
    name = question.name.to_text(omit_final_dot=True)
    _fill(response, zone.lookup(name, dns.rdatatype.to_text(question.rdtype)), name)
    wire = response.to_wire(max_size=65535)
    if limit is not None and len(wire) > max(limit, query.payload):
        response.answer.clear()
        response.flags |= dns.flags.TC  # ask again over TCP
        wire = response.to_wire()
    return wire


def _fill(response: dns.message.Message, answer: Answer, asked: str) -> None:
    if not answer.ours:
        response.set_rcode(dns.rcode.SERVFAIL)
        return
    response.flags |= dns.flags.AA
    if not answer.exists:
        response.set_rcode(dns.rcode.NXDOMAIN)
    for _, kind, data in answer.records:
        # The owner in the spelling it was asked in: some resolvers compare the case.
        owner = asked + "."
        response.answer.append(dns.rrset.from_text(owner, TTL, dns.rdataclass.IN, kind, data))


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = respond(self._zone, data, UDP_BYTES)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


class DnsServer:
    """Both transports on one address."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._udp: asyncio.BaseTransport | None = None
        self._tcp: asyncio.Server | None = None

    def __repr__(self) -> str:
        return f"<DnsServer {'listening' if self._tcp else 'not listening'}>"

    async def start(self, address: str, port: int = PORT) -> int:
        """Listens, and returns the port. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._tcp = await asyncio.start_server(self._serve, address, port)
        bound: int = self._tcp.sockets[0].getsockname()[1]
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Udp(self._zone), (address, bound))
        return bound

    async def close(self) -> None:
        if self._udp is not None:
            self._udp.close()
        if self._tcp is not None:
            self._tcp.close()
            await self._tcp.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TCP_IDLE_SECONDS):
                while True:
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                    answer = respond(self._zone, await reader.readexactly(size))
                    if answer is None:
                        return
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, TimeoutError, OSError):
            pass  # the client has what it wanted, or left
        finally:
            writer.close()
