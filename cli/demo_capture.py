"""Listens inside a pod while one request passes: what the app sees on `lo`, and what is on the wire on `eth0`.

Run in the pod's network namespace as root: `python -m cli.demo_capture PORT MARKER SECONDS`. Prints `ready` once it listens, and when
MARKER has passed on `lo` and the wire has been quiet for a moment, or SECONDS are over, one JSON object of both sides. What was
captured is all it knows: it reads packets (packet(7), one socket for both links) and no proxy's word. TCP over IPv4 only.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Any

ETH_P_ALL = 3
TCP = 6
QUIET_SECONDS = 0.2
# The content types of a TLS record (RFC 8446, section 5.1).
TLS_RECORDS = {20: "change cipher spec", 21: "alert", 22: "handshake", 23: "application data"}


@dataclass(frozen=True, slots=True)
class Segment:
    source: str  # ADDRESS:PORT
    destination: str
    payload: bytes


def segment(packet: bytes, port: int) -> Segment | None:
    """The TCP segment with a payload, to or from `port`, in an IPv4 packet without its link header; else None."""
    if len(packet) < 40 or packet[0] >> 4 != 4 or packet[9] != TCP:
        return None
    header = (packet[0] & 15) * 4
    total = struct.unpack_from("!H", packet, 2)[0] or len(packet)  # 0 where the kernel left it to the card
    source_port, destination_port = struct.unpack_from("!HH", packet, header)
    payload = packet[header + (packet[header + 12] >> 4) * 4 : total]
    if port not in (source_port, destination_port) or not payload:
        return None
    source, destination = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
    return Segment(f"{source}:{source_port}", f"{destination}:{destination_port}", payload)


def tls_records(stream: bytes) -> list[str] | None:
    """The content types of the TLS records that `stream` consists of, the last perhaps cut short; None if it is not TLS."""
    found = []
    at = 0
    while at < len(stream):
        kind, major = stream[at], stream[at + 1 : at + 2]
        if kind not in TLS_RECORDS or major not in (b"\x03", b""):
            return None
        found.append(TLS_RECORDS[kind])
        at += 5 + int.from_bytes(stream[at + 3 : at + 5], "big")
    return found


@dataclass(slots=True)
class Side:
    """What was seen on one link, in order."""

    segments: list[Segment] = field(default_factory=list)

    def flows(self) -> dict[tuple[str, str], bytes]:
        """The payload of each direction of each connection."""
        found: dict[tuple[str, str], bytes] = {}
        for each in self.segments:
            key = (each.source, each.destination)
            found[key] = found.get(key, b"") + each.payload
        return found

    def has(self, marker: bytes) -> bool:
        return any(marker in stream for stream in self.flows().values())

    def facts(self, port: int, marker: bytes) -> dict[str, Any]:
        """What is told of this link; shown is the flow with the marker, else the first one towards `port`."""
        flows = self.flows()
        towards = [key for key in flows if key[1].endswith(f":{port}")] or list(flows)
        shown = next((key for key in towards if marker in flows[key]), towards[0] if towards else ("", ""))
        return {
            "bytes": sum(map(len, flows.values())),
            "marker": self.has(marker),
            "source": shown[0],
            "destination": shown[1],
            "payload": flows.get(shown, b"").hex(),
            "tls": bool(flows) and all(tls_records(stream) is not None for stream in flows.values()),
        }


def listen(port: int, marker: bytes, seconds: float) -> dict[str, Side]:
    """Reads packets of every link until the marker was seen on `lo` and all is quiet, or the time is over."""
    sides = {"lo": Side(), "eth0": Side()}
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as sock:
        print("ready", flush=True)
        while (left := end - time.monotonic()) > 0:
            seen = sides["lo"].has(marker) and bool(sides["eth0"].segments)
            if not select.select([sock], [], [], min(left, QUIET_SECONDS) if seen else left)[0]:
                break
            packet, (link, _, kind, *_) = sock.recvfrom(65536)
            # Loopback shows each packet twice, going out and coming in.
            if link not in sides or (link == "lo" and kind == socket.PACKET_OUTGOING):
                continue
            found = segment(packet, port)
            if found is not None:
                sides[link].segments.append(found)
    return sides


def main(arguments: list[str]) -> None:
    port, marker, seconds = int(arguments[0]), arguments[1].encode(), float(arguments[2])
    sides = listen(port, marker, seconds)
    print(json.dumps({link: side.facts(port, marker) for link, side in sides.items()}))


if __name__ == "__main__":
    main(sys.argv[1:])
