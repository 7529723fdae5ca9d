"""PushContext: everything the compiler asks, indexed, as it was at one moment.

Immutable: a change makes a new one. Parts that did not change are handed on as they are, and with them what was made from
them: `kept`. Reference: istio's pilot/pkg/model/push_context.go.
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
from control.push.destination_rules import DestinationRules
from control.push.kept import Outcomes
from control.push.peer_policy import PeerPolicies
from control.push.rate_limits import RateLimits
from control.push.virtual_services import Bound, VirtualServices
from control.registry.indexes import Backends, Services, Workloads, same
from control.registry.service import Port, Service
from control.registry.workload import Workload

T = TypeVar("T")
P = TypeVar("P")


class Endpoint(NamedTuple):
    """A workload behind a service port."""

    workload: Workload
    port: int


class PushContext:
    """A snapshot of services, workloads and Istio configuration. `previous` is the one before, of the same mesh config."""

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
        *,
        previous: PushContext | None = None,
    ) -> None:
        self.mesh = mesh
        self._previous: Mapping[str, tuple[tuple[Any, ...], Any]] = previous._parts if previous else {}
        self._parts: dict[str, tuple[tuple[Any, ...], Any]] = {}
        self.kept: Outcomes = previous.kept if previous else Outcomes()
        part, root = self._part, mesh.rootNamespace
        earlier: Workloads | None = previous.workload_index if previous else None
        self.service_index: Services = part("services", services, Services)
        self.workload_index: Workloads = part("workloads", workloads, lambda given: Workloads(given, earlier))
        self.routing = part(
            "virtual services", virtual_services, lambda given: VirtualServices(given, mesh.clusterDomain)
        )
        self.destination_rules = part(
            "destination rules", destination_rules, lambda given: DestinationRules(given, root)
        )
        self.gateways = part("gateways", gateways, _by_age)
        self.peers = part("peers", peer_authentications, lambda given: PeerPolicies(given, root))
        self.rate_limits = part("rate limits", local_rate_limits, lambda given: RateLimits(given, root))
        self.credentials = part("credentials", credentials, _by_name)
        self._previous = {}
        self._memo: dict[Hashable, Any] = {}
        self.services = self.service_index.all
        self.by_host = self.service_index.by_host
        self.workloads = self.workload_index.all
        self.by_name, self.by_ip = self.workload_index.by_name, self.workload_index.by_ip
        self.virtual_services = self.routing.all
        self.client_labels_matter = self.destination_rules.selective or self.routing.ask_for_labels

    def _part(self, name: str, given: Iterable[P], make: Callable[[tuple[P, ...]], T]) -> T:
        """The index of these objects; the previous one where they are the same."""
        objects = tuple(given)
        known = self._previous.get(name)
        found = cast(T, known[1]) if known and same(known[0], objects) else make(objects)
        self._parts[name] = (objects, found)
        return found

    def memo(self, key: Hashable, make: Callable[[], T]) -> T:
        """`make()`, computed once per context."""
        if key not in self._memo:
            self._memo[key] = make()
        return cast(T, self._memo[key])

    def is_like(self, other: PushContext) -> bool:
        """Whether it was made from the very same objects."""
        return all(part[1] is other._parts[name][1] for name, part in self._parts.items())

    def backends(self, service: Service) -> Backends:
        """The workloads a service selects; the same object for as long as they are the same."""
        return self.workload_index.behind(service)

    def workloads_of(self, service: Service) -> list[Workload]:
        """The workloads a service selects, ready or not."""
        return self.backends(service).workloads

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
        return self.backends(service).identities(self.mesh.trustDomain)

    def visible_services(self, namespace: str) -> list[Service]:
        return self.service_index.visible(namespace)

    def services_of(self, namespace: str, labels: Mapping[str, str]) -> list[Service]:
        """The services a workload is behind, oldest first."""
        return self.service_index.of(namespace, labels)

    def virtual_services_at(self, gateway: str, namespace: str) -> Bound:
        """Those bound to `mesh` or a gateway `namespace/name`, seen from a namespace, oldest first."""
        return self.routing.bound(gateway, namespace)

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


def _by_age(gateways: tuple[GatewayConfig, ...]) -> tuple[GatewayConfig, ...]:
    return tuple(sorted(gateways, key=lambda config: config.source.age))


def _by_name(credentials: tuple[Credential, ...]) -> Mapping[tuple[str, str], Credential]:
    return {(credential.namespace, credential.name): credential for credential in credentials}
