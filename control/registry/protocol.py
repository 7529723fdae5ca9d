"""Which protocol a port speaks, and how proxies treat it.

Decides from `appProtocol`, then the port's name, then well-known numbers; else the bytes decide (AUTO).
The sidecars speak no HTTP/2 yet, so HTTP/2 and gRPC are opaque bytes to every proxy: that is decided here, in `treatment`, and in
`control.compile.alpn`, and nowhere else. Reference: istio's pkg/config/kube/conversion.go, pkg/config/protocol/instance.go.
"""

from __future__ import annotations

from enum import Enum


class Protocol(Enum):
    """What a port is declared to speak."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    GRPC_WEB = "GRPC-Web"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    MONGO = "Mongo"
    REDIS = "Redis"
    MYSQL = "MySQL"
    UDP = "UDP"
    AUTO = "Auto"


class Treatment(Enum):
    """How a proxy handles a port."""

    HTTP = "http"
    TCP = "tcp"
    AUTO = "auto"  # look at the first bytes


_NAMES = {protocol.value.lower(): protocol for protocol in Protocol if protocol is not Protocol.AUTO}
_NAMES |= {"http_proxy": Protocol.HTTP}
_APP_PROTOCOLS = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
# Servers that speak first would wait for ever for a client's first bytes.
_SERVER_FIRST = frozenset({25, 53, 3306, 27017})


def port_protocol(number: int, name: str, app_protocol: str | None, transport: str = "TCP") -> Protocol:
    """The protocol of a Service port; `transport` is the port's `protocol` field."""
    if transport == "UDP":
        return Protocol.UDP
    if app_protocol:
        word = app_protocol.lower()
        return _APP_PROTOCOLS.get(word) or _NAMES.get(word) or Protocol.AUTO
    word = name.lower()
    if word == "grpc-web" or word.startswith("grpc-web-"):
        return Protocol.GRPC_WEB
    found = _NAMES.get(word.partition("-")[0])
    if found is not None:
        return found
    return Protocol.TCP if number in _SERVER_FIRST else Protocol.AUTO


def treatment(protocol: Protocol) -> Treatment:
    if protocol is Protocol.HTTP:
        return Treatment.HTTP
    return Treatment.AUTO if protocol is Protocol.AUTO else Treatment.TCP
