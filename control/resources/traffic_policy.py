"""The traffic policy of a DestinationRule: load balancing, pools, outlier detection, TLS.

Reference: istio.io/api networking/v1alpha3/destination_rule.proto; validation as istio's validateTrafficPolicy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import create_model, model_validator

from control.resources.destination import PortSelector
from control.resources.istio_types import (
    NOT_YET,
    AnyDuration,
    Duration,
    NotNegative,
    PercentValue,
    UInt32,
    duplicates,
)
from control.resources.kind import FieldError
from control.resources.model import Model


class HTTPCookie(Model):
    """A cookie whose value is hashed."""

    name: str
    path: str | None = None
    ttl: AnyDuration | None = None
    attributes: list[dict[str, str]] | None = None


class RingHash(Model):
    """Ring hash (ketama)."""

    minimumRingSize: NotNegative | None = None


class MagLev(Model):
    """Maglev; the table size is prime."""

    tableSize: NotNegative | None = None


class ConsistentHash(Model):
    """Sends requests with the same key to the same endpoint."""

    httpHeaderName: str | None = None
    httpCookie: HTTPCookie | None = None
    useSourceIp: bool | None = None
    httpQueryParameterName: str | None = None
    ringHash: RingHash | None = None
    maglev: MagLev | None = None
    minimumRingSize: NotNegative | None = None

    @model_validator(mode="after")
    def _one_key(self) -> ConsistentHash:
        keys = ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName")
        given = [key for key in keys if getattr(self, key) is not None]
        problems = []
        if len(given) > 1:
            problems.append(FieldError("", f"only one hash key may be set, not {', '.join(given)}"))
        if self.ringHash is not None and self.maglev is not None:
            problems.append(FieldError("", "only one of ringHash and maglev may be set"))
        return self.found(*problems)


# `from` is no Python name, so these two are made rather than written.
LocalityDistribute: type[Model] = create_model(
    "LocalityDistribute",
    __base__=Model,
    __doc__="Where traffic from a locality goes, in percent.",
    **{"from": (str, ...), "to": (dict[str, int] | None, None)},  # type: ignore[call-overload]
)
LocalityFailover: type[Model] = create_model(
    "LocalityFailover",
    __base__=Model,
    __doc__="The region that stands in for another.",
    **{"from": (str, ...), "to": (str, ...)},  # type: ignore[call-overload]
)


class LocalityLoadBalancerSetting(Model):
    """Preferring what is near."""

    distribute: list[LocalityDistribute] | None = None  # type: ignore[valid-type]
    failover: list[LocalityFailover] | None = None  # type: ignore[valid-type]
    failoverPriority: list[str] | None = None
    enabled: bool | None = None


class WarmupConfiguration(Model):
    """How new endpoints ramp up."""

    duration: Duration
    minimumPercent: PercentValue | None = None
    aggression: float | None = None


class LoadBalancer(Model):
    """How an endpoint is picked."""

    simple: (
        Literal["UNSPECIFIED", "ROUND_ROBIN", "LEAST_CONN", "LEAST_REQUEST", "RANDOM", "PASSTHROUGH"] | None
    ) = None
    consistentHash: Annotated[ConsistentHash | None, NOT_YET] = None
    localityLbSetting: Annotated[LocalityLoadBalancerSetting | None, NOT_YET] = None
    warmupDurationSecs: Annotated[AnyDuration | None, NOT_YET] = None
    warmup: Annotated[WarmupConfiguration | None, NOT_YET] = None

    @model_validator(mode="after")
    def _one(self) -> LoadBalancer:
        if self.simple is not None and self.consistentHash is not None:
            return self.found(FieldError("", "only one of simple and consistentHash may be set"))
        return self


class TcpKeepalive(Model):
    """SO_KEEPALIVE on upstream connections."""

    probes: UInt32 | None = None
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Model):
    """Limits of connections."""

    maxConnections: NotNegative = 0
    connectTimeout: Duration | None = None
    tcpKeepalive: TcpKeepalive | None = None
    maxConnectionDuration: Duration | None = None
    idleTimeout: AnyDuration | None = None


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

    http1MaxPendingRequests: NotNegative = 0
    http2MaxRequests: NotNegative = 0
    maxRequestsPerConnection: NotNegative = 0
    maxRetries: NotNegative = 0
    idleTimeout: AnyDuration | None = None
    h2UpgradePolicy: Annotated[Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] | None, NOT_YET] = None
    useClientProtocol: Annotated[bool | None, NOT_YET] = None
    maxConcurrentStreams: Annotated[NotNegative, NOT_YET] = 0
    http2KeepAlive: Annotated[HTTP2KeepAlive | None, NOT_YET] = None
    retryBudget: Annotated[RetryBudget | None, NOT_YET] = None


class ConnectionPoolSettings(Model):
    """Limits of a client proxy's connections to a service."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None

    @model_validator(mode="after")
    def _some(self) -> ConnectionPoolSettings:
        if self.tcp is None and self.http is None:
            return self.found(FieldError("", "connection pool must have at least one field"))
        return self


class OutlierDetection(Model):
    """Ejects endpoints that fail."""

    splitExternalLocalOriginErrors: bool | None = None
    consecutiveErrors: int | None = None
    consecutiveLocalOriginFailures: UInt32 | None = None
    consecutiveGatewayErrors: UInt32 | None = None
    consecutive5xxErrors: UInt32 | None = None
    interval: Duration | None = None
    baseEjectionTime: Duration | None = None
    maxEjectionPercent: PercentValue | None = None
    minHealthPercent: PercentValue | None = None
    outlierDetectionHttpErrorCodes: list[int] | None = None


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

    @model_validator(mode="after")
    def _complete(self) -> ClientTLSSettings:
        return self.found(*self._problems())

    def _problems(self) -> Iterator[FieldError]:
        if self.mode == "MUTUAL" and not self.credentialName:
            if not self.clientCertificate:
                yield FieldError("clientCertificate", "client certificate required for mutual tls")
            if not self.privateKey:
                yield FieldError("privateKey", "private key required for mutual tls")
        if self.mode == "ISTIO_MUTUAL":
            for field in ("clientCertificate", "privateKey", "caCertificates", "credentialName"):
                if getattr(self, field):
                    yield FieldError(field, f"{field} must not be set with mode ISTIO_MUTUAL")
        elif self.credentialName and (self.clientCertificate or self.caCertificates or self.privateKey):
            yield FieldError(
                "credentialName",
                "cannot specify client certificates or CA certificate if credentialName is set",
            )


class TunnelSettings(Model):
    """Tunnels TCP in HTTP CONNECT."""

    protocol: str | None = None
    targetHost: str
    targetPort: UInt32


class ProxyProtocol(Model):
    """Sends a PROXY protocol header upstream."""

    version: Literal["V1", "V2"] | None = None


class _Policy(Model):
    loadBalancer: LoadBalancer | None = None
    connectionPool: ConnectionPoolSettings | None = None
    outlierDetection: Annotated[OutlierDetection | None, NOT_YET] = None
    tls: ClientTLSSettings | None = None


class PortTrafficPolicy(_Policy):
    """The whole policy of one port: blocks missing here fall back to defaults."""

    port: PortSelector


class TrafficPolicy(_Policy):
    """Policies of all ports, and of single ones."""

    portLevelSettings: list[PortTrafficPolicy] | None = None
    tunnel: Annotated[TunnelSettings | None, NOT_YET] = None
    proxyProtocol: Annotated[ProxyProtocol | None, NOT_YET] = None
    retryBudget: Annotated[RetryBudget | None, NOT_YET] = None

    @model_validator(mode="after")
    def _some(self) -> TrafficPolicy:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            return self.found(FieldError("", "traffic policy must have at least one field"))
        ports = [str(entry.port.number) for entry in self.portLevelSettings or []]
        return self.found(
            *(
                FieldError("portLevelSettings", f"duplicate port level settings for port {port}")
                for port in duplicates(ports)
            )
        )
