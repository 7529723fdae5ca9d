"""Reading packets: which are ours, what they carry, and whether a stream is TLS."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.demo_capture import Segment, Side, segment, tls_records


def packet(
    payload: bytes, source: int = 40000, destination: int = 9080, protocol: int = 6, options: int = 0
) -> bytes:
    """An IPv4 packet with a TCP segment, `options` words of options in each header."""
    header = 20 + 4 * options
    total = 2 * header + len(payload)
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x40 | header // 4, 0, total, 0, 0, 64, protocol, 0, b"\n\0\0\1", b"\n\0\0\2"
    )
    tcp = struct.pack("!HHIIBBHHH", source, destination, 0, 0, header // 4 << 4, 0, 0, 0, 0)
    return ip + bytes(4 * options) + tcp + bytes(4 * options) + payload


@given(st.binary(min_size=1, max_size=100), st.integers(0, 10), st.binary(max_size=10))
def test_the_payload_is_found_behind_any_options_and_before_any_padding(
    data: bytes, options: int, padding: bytes
) -> None:
    found = segment(packet(data, options=options) + padding, 9080)
    assert found == Segment("10.0.0.1:40000", "10.0.0.2:9080", data)


@pytest.mark.parametrize(
    "raw",
    [
        packet(b""),
        packet(b"x", destination=80),
        packet(b"x", protocol=17),
        b"\x60" + packet(b"x")[1:],
        packet(b"x")[:30],
        b"",
    ],
    ids=["no payload", "another port", "UDP", "IPv6", "cut short", "nothing"],
)
def test_what_is_not_ours(raw: bytes) -> None:
    assert segment(raw, 9080) is None


def test_answers_count_too() -> None:
    assert segment(packet(b"x", source=9080, destination=40000), 9080) is not None


RECORD = b"\x17\x03\x03\x00\x02ab"


@pytest.mark.parametrize(
    ("stream", "records"),
    [
        (RECORD, ["application data"]),
        (b"\x16\x03\x01\x00\x01a" + RECORD, ["handshake", "application data"]),
        (RECORD + RECORD[:3], ["application data", "application data"]),
        (b"GET / HTTP/1.1\r\n", None),
        (RECORD + b"GET /", None),
        (b"\x17\x02\x00\x00\x00", None),
    ],
)
def test_tls_is_told_by_its_records(stream: bytes, records: list[str] | None) -> None:
    assert tls_records(stream) == records


def test_a_marker_cut_between_two_segments_is_seen() -> None:
    side = Side(
        [
            Segment("a:1", "b:9080", b"mar"),
            Segment("b:9080", "a:1", b"answer"),
            Segment("a:1", "b:9080", b"ker"),
        ]
    )
    facts = side.facts(9080, b"marker")
    assert (facts["marker"], facts["bytes"], facts["tls"]) == (True, 12, False)
    assert bytes.fromhex(facts["payload"]) == b"marker"


def test_the_flow_with_the_marker_is_shown() -> None:
    probe, ours = Segment("c:2", "b:9080", b"GET /health"), Segment("a:1", "b:9080", b"GET / marker")
    assert Side([probe, ours]).facts(9080, b"marker")["source"] == "a:1"


def test_an_empty_link_is_not_tls() -> None:
    assert Side().facts(9080, b"m") == {
        "bytes": 0, "marker": False, "source": "", "destination": "", "payload": "", "tls": False,
    }  # fmt: skip
