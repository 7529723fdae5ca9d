"""PushContext: everything the compiler asks, indexed, as it was at one moment.

Immutable: a change makes a new one. Derived answers are kept in `memo`, which lives as long as the context, so that many
proxies with the same view share one computation. Reference: istio's pilot/pkg/model/push_context.go.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from control.mesh_config import MeshConfig
from control.push.config import (
    Credential,
    DestinationRuleConfig,
    GatewayConfig,
    LocalRateLimitConfig,
    PeerAuthenticationConfig,
    VirtualServiceConfig,
)
from control.push.delegates import merge_delegates
from control.push.destination_rules import DestinationRules, specificity
from control.push.peer_policy import PeerPolicies
from control.push.rate_limits import RateLimits
from control.registry.service import Port, Service
from control.registry.workload import Workload, spiffe_id
from control.resources.istio_types import host_matches

T = TypeVar("T")


class Endpoint(NamedTuple):
    """A workload behind a service port."""

    workload: Workload
    port: int


class PushContext:
    """A snapshot of services, workloads and Istio configuration."""

    def __init__(
        self,
        mesh: MeshConfig,
        services: Iterable[Service] = (),
        workloads: Iterable[Workload] = (),
        virtual_services: Iterable[VirtualServiceConfig] = (),
        destination_rules: Iterable[DestinationRuleConfig] = (),
        gateways: Iterable[GatewayConfig] = (),
        peer_authentications: Iterable[PeerAuthenticationConfig] = (),
        credentials: Iterable[Credential] = (),
        local_rate_limits: Iterable[LocalRateLimitConfig] = (),
    ) -> None:
        self.mesh = mesh
        self.services = tuple(sorted(services, key=lambda s: (s.created, s.name, s.namespace)))
        self.by_host: Mapping[str, Service] = {service.hostname: service for service in self.services}
        self.workloads = tuple(sorted(workloads, key=lambda w: (w.namespace, w.name)))
        self.by_name: Mapping[tuple[str, str], Workload] = {(w.namespace, w.name): w for w in self.workloads}
        self.by_ip: Mapping[str, Workload] = {workload.ip: workload for workload in self.workloads}
        self.virtual_services = tuple(
            sorted(
                merge_delegates(virtual_services, mesh.clusterDomain), key=lambda config: config.source.age
            )
        )
        self.destination_rules = DestinationRules(destination_rules, mesh.rootNamespace)
        self.gateways = tuple(sorted(gateways, key=lambda config: config.source.age))
        self.peers = PeerPolicies(peer_authentications, mesh.rootNamespace)
        self.rate_limits = RateLimits(local_rate_limits, mesh.rootNamespace)
        self.credentials: Mapping[tuple[str, str], Credential] = {
            (credential.namespace, credential.name): credential for credential in credentials
        }
        self._memo: dict[Hashable, Any] = {}
        self._by_namespace: dict[str, list[Workload]] = {}
        for workload in self.workloads:
            self._by_namespace.setdefault(workload.namespace, []).append(workload)
        self.client_labels_matter = self.destination_rules.selective or any(
            _asks_for_labels(config) for config in self.virtual_services
        )

    def memo(self, key: Hashable, make: Callable[[], T]) -> T:
        """`make()`, computed once per context."""
        if key not in self._memo:
            self._memo[key] = make()
        return cast(T, self._memo[key])

    def workloads_of(self, service: Service) -> list[Workload]:
        """The workloads a service selects, ready or not."""
        return self.memo(
            ("workloads", service.hostname),
            lambda: [
                workload
                for workload in self._by_namespace.get(service.namespace, ())
                if service.selects(service.namespace, workload.labels)
            ],
        )

    def endpoints(self, service: Service, port: Port) -> list[Endpoint]:
        """The ready workloads behind a service port."""
        found = []
        for workload in self.workloads_of(service):
            number = workload.port(port.target)
            if workload.ready and number is not None:
                found.append(Endpoint(workload, number))
        return found

    def identities(self, service: Service) -> list[str]:
        """The SPIFFE IDs the workloads of a service may have, sorted."""
        trust_domain = self.mesh.trustDomain
        return sorted(
            {
                spiffe_id(trust_domain, workload.namespace, workload.service_account)
                for workload in self.workloads_of(service)
            }
        )

    def visible_services(self, namespace: str) -> list[Service]:
        return [service for service in self.services if service.visible_from(namespace)]

    def services_of(self, namespace: str, labels: Mapping[str, str]) -> list[Service]:
        """The services a workload is behind, oldest first."""
        return [service for service in self.services if service.selects(namespace, labels)]

    def virtual_services_at(self, gateway: str, namespace: str) -> list[VirtualServiceConfig]:
        """Those bound to `mesh` or a gateway `namespace/name`, seen from a namespace, oldest first."""
        return [
            config
            for config in self.virtual_services
            if gateway in config.gateways and config.visible_from(namespace)
        ]

    def destination_rule(
        self, host: str, client_namespace: str, labels: Mapping[str, str]
    ) -> DestinationRuleConfig | None:
        service = self.by_host.get(host)
        owner = service.namespace if service else client_namespace
        return self.destination_rules.find(host, owner, client_namespace, labels)

    def gateways_for(self, labels: Mapping[str, str]) -> list[GatewayConfig]:
        """The Gateways a gateway workload with these labels serves; no selector means every one."""
        return [
            config
            for config in self.gateways
            if all(labels.get(key) == value for key, value in (config.spec.selector or {}).items())
        ]


def _asks_for_labels(config: VirtualServiceConfig) -> bool:
    rules = [*(config.spec.http or ()), *(config.spec.tls or ()), *(config.spec.tcp or ())]
    return any(match.sourceLabels for rule in rules for match in rule.match or ())


def best_virtual_service(
    configs: Iterable[VirtualServiceConfig], host: str
) -> tuple[VirtualServiceConfig, str] | None:
    """The VirtualService for a host: most specific, then oldest; with the host of it that matched."""
    best: tuple[VirtualServiceConfig, str] | None = None
    for config in configs:  # oldest first, so only a more specific one replaces
        for candidate in config.hosts:
            if host_matches(candidate, host) and (
                best is None or specificity(candidate) > specificity(best[1])
            ):
                best = (config, candidate)
    return best
