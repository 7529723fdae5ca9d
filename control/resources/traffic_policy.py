"""The traffic policy of a DestinationRule: load balancing, pools, outlier detection, TLS.

Reference: istio.io/api networking/v1alpha3/destination_rule.proto; validation as istio's validateTrafficPolicy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from control.resources.destination import PortSelector
from control.resources.http_headers import line_problem
from control.resources.istio_types import (
    NOT_YET,
    DisablingDuration,
    Duration,
    Int32,
    Percent,
    PercentValue,
    PortNumber,
    UInt32,
    duplicates,
    fits_seconds,
    fqdn_problem,
    is_ip,
    suits_keepalive,
)
from control.resources.kind import FieldError
from control.resources.load_balancer import LoadBalancer
from control.resources.model import Model

_MAX_SNI = 255  # bytes; envoy's UpstreamTlsContext


class TcpKeepalive(Model):
    """SO_KEEPALIVE on upstream connections."""

    probes: UInt32 | None = None
    time: Duration | None = None
    interval: Duration | None = None

    def problems(self) -> Iterator[FieldError]:
        for field in ("time", "interval"):
            value = getattr(self, field)
            if value is not None and not fits_seconds(value):
                yield FieldError(field, "duration is too long, at most 4294967295s")

    def doubts(self) -> Iterator[FieldError]:
        """What Linux does not take fails every connection, with Envoy too."""
        if self.probes is not None and self.probes > 127:
            yield FieldError("probes", "connections fail: Linux takes at most 127 probes")
        for field in ("time", "interval"):
            value = getattr(self, field)
            if value is not None and not suits_keepalive(value):
                yield FieldError(field, "connections fail: Linux takes at most 32767s")


class TCPSettings(Model):
    """Limits of connections."""

    maxConnections: Int32 = 0
    connectTimeout: Duration | None = None
    tcpKeepalive: TcpKeepalive | None = None
    maxConnectionDuration: Duration | None = None
    idleTimeout: DisablingDuration | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.maxConnections < 0:
            yield FieldError("maxConnections", "max connections must be non-negative")


class HTTP2KeepAlive(Model):
    """PINGs on HTTP/2 connections."""

    interval: Duration | None = None
    timeout: Duration | None = None


class RetryBudget(Model):
    """Limits concurrent retries to a share of active requests."""

    percent: PercentValue | None = None
    minRetryConcurrency: UInt32 | None = None


class HTTPSettings(Model):
    """Limits of HTTP requests."""

    http1MaxPendingRequests: Int32 = 0
    http2MaxRequests: Int32 = 0
    maxRequestsPerConnection: Int32 = 0
    maxRetries: Int32 = 0
    idleTimeout: DisablingDuration | None = None
    h2UpgradePolicy: Annotated[Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] | None, NOT_YET] = None
    useClientProtocol: Annotated[bool | None, NOT_YET] = None
    maxConcurrentStreams: Annotated[Int32, NOT_YET] = 0
    http2KeepAlive: Annotated[HTTP2KeepAlive | None, NOT_YET] = None
    retryBudget: RetryBudget | None = None

    def problems(self) -> Iterator[FieldError]:
        for field, words in _LIMITS.items():
            if getattr(self, field) < 0:
                yield FieldError(field, f"{words} must be non-negative")
        if self.h2UpgradePolicy == "UPGRADE" and self.useClientProtocol:
            why = "use client protocol must not be true when H2UpgradePolicy is UPGRADE"
            yield FieldError("useClientProtocol", why)


_LIMITS = {
    "http1MaxPendingRequests": "http1 max pending requests",
    "http2MaxRequests": "http2 max requests",
    "maxRequestsPerConnection": "max requests per connection",
    "maxRetries": "max retries",
    "maxConcurrentStreams": "max concurrent streams",
}


class ConnectionPoolSettings(Model):
    """Limits of a client proxy's connections to a service."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.tcp is None and self.http is None:
            yield FieldError("", "connection pool must have at least one field")


class OutlierDetection(Model):
    """Ejects endpoints that fail."""

    splitExternalLocalOriginErrors: bool | None = None
    consecutiveErrors: Int32 | None = None
    consecutiveLocalOriginFailures: UInt32 | None = None
    consecutiveGatewayErrors: UInt32 | None = None
    consecutive5xxErrors: UInt32 | None = None
    interval: Duration | None = None
    baseEjectionTime: Duration | None = None
    maxEjectionPercent: Percent | None = None
    minHealthPercent: Percent | None = None
    outlierDetectionHttpErrorCodes: list[UInt32] | None = None

    def problems(self) -> Iterator[FieldError]:
        if self.consecutiveLocalOriginFailures and not self.splitExternalLocalOriginErrors:
            why = (
                "outlier detection consecutive local origin failures is specified, but split external local origin "
                "errors is set to false"
            )
            yield FieldError("consecutiveLocalOriginFailures", why)
        for index, code in enumerate(self.outlierDetectionHttpErrorCodes or []):
            if not 200 <= code <= 599:
                why = f"HTTP status {code} is not in range 200..599"
                yield FieldError(f"outlierDetectionHttpErrorCodes[{index}]", why)

    def doubts(self) -> Iterator[FieldError]:
        if self.consecutiveErrors:
            why = (
                "outlier detection consecutive errors is deprecated, use consecutiveGatewayErrors or "
                "consecutive5xxErrors instead"
            )
            yield FieldError("consecutiveErrors", why)


class ClientTLSSettings(Model):
    """TLS towards the service."""

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = "DISABLE"
    clientCertificate: str | None = None
    privateKey: str | None = None
    caCertificates: str | None = None
    credentialName: Annotated[str | None, NOT_YET] = None
    subjectAltNames: list[str] | None = None
    sni: str | None = None
    insecureSkipVerify: bool | None = None
    caCrl: Annotated[str | None, NOT_YET] = None

    def problems(self) -> Iterator[FieldError]:
        if self.mode in ("SIMPLE", "MUTUAL"):
            yield from self._originated()
        if self.sni is not None and len(self.sni.encode(errors="surrogatepass")) > _MAX_SNI:
            yield FieldError("sni", f"sni is too long, max length allowed is {_MAX_SNI}")
        problem = line_problem(self.sni)
        if problem:
            yield FieldError("sni", problem)
        if self.mode == "MUTUAL" and not self.credentialName:
            if not self.clientCertificate:
                yield FieldError("clientCertificate", "client certificate required for mutual tls")
            if not self.privateKey:
                yield FieldError("privateKey", "private key required for mutual tls")

    def _originated(self) -> Iterator[FieldError]:
        files = self.clientCertificate or self.caCertificates or self.privateKey or self.caCrl
        if self.credentialName and files:
            why = "cannot specify client certificates or CA certificate or CA CRL If credentialName is set"
            yield FieldError("credentialName", why)
        if self.insecureSkipVerify and self.caCertificates:
            why = "cannot specify CaCertificates when InsecureSkipVerify is set true"
            yield FieldError("caCertificates", why)
        if self.insecureSkipVerify and self.subjectAltNames:
            why = "cannot specify SubjectAltNames when InsecureSkipVerify is set true"
            yield FieldError("subjectAltNames", why)

    def doubts(self) -> Iterator[FieldError]:
        unused = ("clientCertificate", "privateKey", "caCertificates", "credentialName")
        for field in unused if self.mode in ("DISABLE", "ISTIO_MUTUAL") else ():
            if getattr(self, field):
                yield FieldError(field, f"{field} is not used with mode {self.mode}")


class TunnelSettings(Model):
    """Tunnels TCP in HTTP CONNECT."""

    protocol: str | None = None
    targetHost: str
    targetPort: PortNumber

    def problems(self) -> Iterator[FieldError]:
        if self.protocol not in (None, "", "CONNECT", "POST"):
            yield FieldError("protocol", 'tunnel protocol must be "CONNECT" or "POST"')
        problem = None if is_ip(self.targetHost) else fqdn_problem(self.targetHost)
        if problem:
            why = f"tunnel target host must be valid FQDN or IP address: {problem}"
            yield FieldError("targetHost", f"{why}; {self.targetHost} is not a valid IP")


class ProxyProtocol(Model):
    """Sends a PROXY protocol header upstream."""

    version: Literal["V1", "V2"] | None = None


class _Policy(Model):
    loadBalancer: LoadBalancer | None = None
    connectionPool: ConnectionPoolSettings | None = None
    outlierDetection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None

    def doubts(self) -> Iterator[FieldError]:
        locality = self.loadBalancer.localityLbSetting if self.loadBalancer else None
        if locality and (locality.failover or locality.failoverPriority) and self.outlierDetection is None:
            why = "outlier detection policy must be provided for failover"
            yield FieldError("loadBalancer.localityLbSetting", why)


class PortTrafficPolicy(_Policy):
    """The whole policy of one port: blocks missing here fall back to defaults."""

    port: PortSelector

    def problems(self) -> Iterator[FieldError]:
        if all(getattr(self, name) is None for name in _Policy.model_fields):
            yield FieldError("", "port traffic policy must have at least one field")


class TrafficPolicy(_Policy):
    """Policies of all ports, and of single ones."""

    portLevelSettings: list[PortTrafficPolicy] | None = None
    tunnel: Annotated[TunnelSettings | None, NOT_YET] = None
    proxyProtocol: Annotated[ProxyProtocol | None, NOT_YET] = None
    retryBudget: RetryBudget | None = None

    def problems(self) -> Iterator[FieldError]:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            yield FieldError("", "traffic policy must have at least one field")
        for port in duplicates([str(entry.port.number) for entry in self.portLevelSettings or []]):
            yield FieldError("portLevelSettings", f"duplicate port level settings for port {port}")
