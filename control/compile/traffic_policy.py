"""The traffic policy of a cluster: which blocks of a DestinationRule hold, and what they become.

A subset overrides block by block; settings of a port replace everything of their level, and what they lack is the default.
Reference: istio's pilot/pkg/networking/util/util.go (MergeTrafficPolicy), core/cluster_traffic_policy.go.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from control.compile.outlier import error_matcher, outlier_detection
from control.compile.protobuf import Message, T, duration
from control.compile.tls import automatic_names
from control.mesh_config import MeshConfig
from control.resources.destination_rule import DestinationRuleSpec, Subset
from control.resources.istio_types import parse_duration
from control.resources.load_balancer import LoadBalancer
from control.resources.traffic_policy import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    HTTPSettings,
    OutlierDetection,
    RetryBudget,
    TCPSettings,
    TrafficPolicy,
)

_UNLIMITED = 2**32 - 1
_BUDGET_PERCENT, _BUDGET_MIN_CONCURRENCY = 20, 3  # of the API's RetryBudget
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True, slots=True)
class Policy:
    """The blocks in force for one port and subset; None is the default."""

    load_balancer: LoadBalancer | None = None
    pool: ConnectionPoolSettings | None = None
    tls: ClientTLSSettings | None = None
    outlier: OutlierDetection | None = None
    retry_budget: RetryBudget | None = None

    @property
    def at_the_server(self) -> Policy:
        """What of it holds for the server's own calls to its app: the limits of its connections."""
        return Policy(pool=self.pool)

    @property
    def passthrough(self) -> bool:
        return self.load_balancer is not None and self.load_balancer.simple == "PASSTHROUGH"

    @property
    def tcp(self) -> TCPSettings:
        return (self.pool.tcp if self.pool else None) or TCPSettings()

    @property
    def http(self) -> HTTPSettings:
        return (self.pool.http if self.pool else None) or HTTPSettings()


def effective_policy(rule: DestinationRuleSpec | None, subset: Subset | None, port: int) -> Policy:
    if rule is None:
        return Policy()
    policy = _override(Policy(), rule.trafficPolicy, port)
    return _override(policy, subset.trafficPolicy, port) if subset else policy


def _override(base: Policy, policy: TrafficPolicy | None, port: int) -> Policy:
    if policy is None:
        return base
    for entry in policy.portLevelSettings or ():
        if entry.port.number == port:
            return Policy(entry.loadBalancer, entry.connectionPool, entry.tls, entry.outlierDetection)
    return replace(
        base,
        load_balancer=policy.loadBalancer or base.load_balancer,
        pool=policy.connectionPool or base.pool,
        tls=policy.tls or base.tls,
        outlier=policy.outlierDetection or base.outlier,
        retry_budget=policy.retryBudget or base.retry_budget,
    )


def pool_fields(mesh: MeshConfig, policy: Policy) -> Message:
    """Limits and timeouts of a cluster, and when its hosts are ejected. Istio reads 0 as unset, and unset is unlimited."""
    tcp, http = policy.tcp, policy.http
    threshold: Message = {
        "max_connections": tcp.maxConnections or _UNLIMITED,
        "max_pending_requests": http.http1MaxPendingRequests or _UNLIMITED,
        "max_requests": http.http2MaxRequests or _UNLIMITED,
        "max_retries": http.maxRetries or _UNLIMITED,
    }
    budget = http.retryBudget or policy.retry_budget
    if budget is not None:
        threshold["retry_budget"] = _retry_budget(budget)
    fields: Message = {
        "connect_timeout": duration(tcp.connectTimeout or mesh.connectTimeout),
        "circuit_breakers": {"thresholds": [threshold]},
    }
    if tcp.tcpKeepalive is not None:
        fields["upstream_connection_options"] = {"tcp_keepalive": _keepalive(tcp)}
    if policy.outlier is not None:
        fields["outlier_detection"] = outlier_detection(policy.outlier)
    options = _http_options(policy)
    if options:
        fields["typed_extension_protocol_options"] = {
            _HTTP_OPTIONS: {
                "@type": T + _HTTP_OPTIONS,
                **options,
                "explicit_http_config": {"http_protocol_options": {}},
            }
        }
    return fields


def _http_options(policy: Policy) -> Message:
    """What the cluster's HTTP connections and requests need beyond Envoy's defaults."""
    options = {
        "common_http_protocol_options": _common_http_options(policy.tcp, policy.http),
        "upstream_http_protocol_options": automatic_names(policy.tls) if policy.tls is not None else {},
        "outlier_detection": error_matcher(policy.outlier),
    }
    return {name: fields for name, fields in options.items() if fields}


def _retry_budget(budget: RetryBudget) -> Message:
    """Retries as a share of the requests under way; Envoy then takes no notice of `max_retries`."""
    percent, least = budget.percent, budget.minRetryConcurrency
    return {
        "budget_percent": {"value": _BUDGET_PERCENT if percent is None else percent},
        "min_retry_concurrency": _BUDGET_MIN_CONCURRENCY if least is None else least,
    }


def _keepalive(tcp: TCPSettings) -> Message:
    settings = tcp.tcpKeepalive
    assert settings is not None
    fields: Message = {}
    if settings.probes:
        fields["keepalive_probes"] = settings.probes
    for name, value in (("keepalive_time", settings.time), ("keepalive_interval", settings.interval)):
        if value:
            fields[name] = max(1, int(parse_duration(value)))
    return fields


def _common_http_options(tcp: TCPSettings, http: HTTPSettings) -> Message:
    fields: Message = {}
    idle = http.idleTimeout or tcp.idleTimeout
    if idle:
        fields["idle_timeout"] = duration(idle)
    if http.maxRequestsPerConnection:
        fields["max_requests_per_connection"] = http.maxRequestsPerConnection
    if tcp.maxConnectionDuration:
        fields["max_connection_duration"] = duration(tcp.maxConnectionDuration)
    return fields
