"""Gateway: the ports, hosts and TLS of a load balancer at the edge of the mesh.

Reference: istio.io/api networking/v1alpha3/gateway.proto; validation as istio's ValidateGateway.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Literal

from control.resources.istio_object import IstioObject, istio_kind
from control.resources.istio_types import (
    NOT_YET,
    PortNumber,
    check_selector,
    duplicates,
    is_ip,
    wildcard_domain_problem,
)
from control.resources.kind import FieldError
from control.resources.model import Model

HTTP_PROTOCOLS = frozenset({"HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTP_PROXY"})
TLS_PROTOCOLS = frozenset({"HTTPS", "TLS"})
_PROTOCOLS = HTTP_PROTOCOLS | TLS_PROTOCOLS | {"TCP", "MONGO", "REDIS", "MYSQL"}
_TLS_VERSION = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class Port(Model):
    """A port of the gateway and the protocol spoken on it."""

    number: PortNumber
    protocol: str
    name: str
    targetPort: int | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.protocol.upper() not in _PROTOCOLS:
            known = ", ".join(sorted(_PROTOCOLS))
            why = f"invalid protocol {json.dumps(self.protocol)}, supported protocols are {known}"
            yield FieldError("protocol", why)
        if not self.name:
            yield FieldError("name", f"port name must be set: {self.number}")


class TlsCertificate(Model):
    """A certificate from files."""

    serverCertificate: str | None = None
    privateKey: str | None = None
    caCertificates: str | None = None


class ServerTLSSettings(Model):
    """How the gateway terminates TLS, or passes it through."""

    httpsRedirect: bool = False
    mode: Literal[
        "PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"
    ] = "PASSTHROUGH"
    serverCertificate: str | None = None
    privateKey: str | None = None
    caCertificates: str | None = None
    caCrl: Annotated[str | None, NOT_YET] = None
    credentialName: str | None = None
    credentialNames: Annotated[list[str] | None, NOT_YET] = None
    caCertCredentialName: Annotated[str | None, NOT_YET] = None
    tlsCertificates: Annotated[list[TlsCertificate] | None, NOT_YET] = None
    subjectAltNames: Annotated[list[str] | None, NOT_YET] = None
    verifyCertificateSpki: Annotated[list[str] | None, NOT_YET] = None
    verifyCertificateHash: Annotated[list[str] | None, NOT_YET] = None
    minProtocolVersion: _TLS_VERSION | None = None
    maxProtocolVersion: _TLS_VERSION | None = None
    cipherSuites: Annotated[list[str] | None, NOT_YET] = None

    def problems(self) -> Iterator[FieldError]:
        files = self.serverCertificate or self.privateKey or self.caCertificates
        if self.mode == "ISTIO_MUTUAL":
            for name in ("serverCertificate", "privateKey", "caCertificates", "credentialName"):
                if getattr(self, name):
                    yield FieldError(name, f"ISTIO_MUTUAL TLS cannot have associated {name}")
            return
        if self.mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH"):
            if files or self.credentialName:
                yield FieldError("", f"{self.mode} mode does not use certificates; they will be ignored")
            return
        if self.credentialName and files:
            yield FieldError("credentialName", "credentialName and certificate files cannot be set together")
        if self.credentialName and self.credentialNames:
            yield FieldError(
                "credentialNames", "only one of credentialName or credentialNames can be set at a time"
            )
        if self.credentialName or self.credentialNames or self.tlsCertificates:
            return
        if not self.serverCertificate:
            yield FieldError("serverCertificate", f"{self.mode} TLS requires a server certificate")
        if not self.privateKey:
            yield FieldError("privateKey", f"{self.mode} TLS requires a private key")
        if self.mode in ("MUTUAL", "OPTIONAL_MUTUAL") and not self.caCertificates:
            yield FieldError("caCertificates", f"{self.mode} TLS requires a client CA bundle")


def _check_host(host: str) -> str | None:
    namespace, slash, name = host.rpartition("/")
    if "/" in namespace:
        return f"invalid namespace/host: {json.dumps(host)}"
    if slash and not namespace:
        return f"config namespace and dnsName in host entry cannot be empty: {json.dumps(host)}"
    problem = wildcard_domain_problem(name)
    if problem is None and name != "*" and "." not in name:
        return "short names (non FQDN) are not allowed"
    return problem


class Server(Model):
    """One port of the gateway, with its hosts."""

    port: Port
    bind: str | None = None
    hosts: list[str]
    tls: ServerTLSSettings | None = None
    defaultEndpoint: Annotated[str | None, NOT_YET] = None
    name: str | None = None

    def problems(self) -> Iterator[FieldError]:
        if not self.hosts:
            yield FieldError("hosts", "server config must contain at least one host")
        for index, host in enumerate(self.hosts):
            problem = _check_host(host)
            if problem:
                yield FieldError(f"hosts[{index}]", problem)
        if self.bind and not is_ip(self.bind):
            yield FieldError("bind", f"{self.bind} is not a valid IP")
        protocol = self.port.protocol.upper()
        if self.tls is None:
            if protocol in TLS_PROTOCOLS:
                yield FieldError("tls", "server must have TLS settings for HTTPS/TLS protocols")
        elif protocol in HTTP_PROTOCOLS and not self.tls.httpsRedirect:
            yield FieldError("tls", "server cannot have TLS settings for non HTTPS/TLS ports")
        elif self.tls.httpsRedirect and protocol not in HTTP_PROTOCOLS:
            yield FieldError("tls.httpsRedirect", "tls.httpsRedirect should only be used with http servers")

    def without_effect(self) -> Iterator[str]:
        """Servers of a kind that no listener is made for yet."""
        if not serves(self):
            yield ""


def is_http(server: Server) -> bool:
    """Whether a server takes plain HTTP."""
    return server.port.protocol.upper() in HTTP_PROTOCOLS


def serves(server: Server) -> bool:
    """Plain HTTP, and HTTPS that ends at the gateway."""
    if is_http(server):
        return True
    ends = server.tls is not None and server.tls.mode in ("SIMPLE", "MUTUAL", "ISTIO_MUTUAL")
    return ends and server.port.protocol.upper() == "HTTPS"


class GatewaySpec(Model):
    """Which gateway workloads, and what they listen for."""

    servers: list[Server]
    selector: dict[str, str] | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from check_selector(self.selector, "selector")
        if not self.servers:
            yield FieldError("servers", "gateway must have at least one server")
        for name in duplicates([server.port.name for server in self.servers if server.port.name]):
            yield FieldError("servers", f"port names in servers must be unique: duplicate name {name}")


class Gateway(IstioObject):
    """Describes a load balancer operating at the edge of the mesh."""

    spec: GatewaySpec


KIND = istio_kind(Gateway, "gateways", "networking.istio.io", short_names=("gw",))
