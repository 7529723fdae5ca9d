from __future__ import annotations

import pytest

from control.registry.protocol import Protocol, Treatment, port_protocol, treatment


@pytest.mark.parametrize(
    ("number", "name", "app_protocol", "expected"),
    [
        (80, "http", None, Protocol.HTTP),
        (80, "HTTP-web", None, Protocol.HTTP),
        (80, "http2", None, Protocol.HTTP2),
        (80, "grpc-web", None, Protocol.GRPC_WEB),
        (80, "grpc-api", None, Protocol.GRPC),
        (80, "mysql", None, Protocol.MYSQL),
        (80, "web", None, Protocol.AUTO),
        (80, "", None, Protocol.AUTO),
        (3306, "", None, Protocol.TCP),
        (3306, "http", None, Protocol.HTTP),
        (80, "tcp", "http", Protocol.HTTP),
        (80, "http", "kubernetes.io/h2c", Protocol.HTTP2),
        (80, "http", "kubernetes.io/wss", Protocol.HTTPS),
        (80, "http", "example.com/own", Protocol.AUTO),
    ],
)
def test_a_port_speaks(number: int, name: str, app_protocol: str | None, expected: Protocol) -> None:
    assert port_protocol(number, name, app_protocol) is expected


def test_udp_is_never_proxied() -> None:
    assert port_protocol(80, "http", None, "UDP") is Protocol.UDP


def test_http2_is_bytes_for_now() -> None:
    treatments = {protocol: treatment(protocol) for protocol in Protocol}
    assert [p for p, t in treatments.items() if t is Treatment.HTTP] == [Protocol.HTTP]
    assert [p for p, t in treatments.items() if t is Treatment.AUTO] == [Protocol.AUTO]
