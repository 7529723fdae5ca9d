"""The objects analyzers look at, as they are at one moment, and the questions they have in common.

Immutable. Every object is valid for its kind; those a manifest gets wrong are told by the schema's own analyzer and left out. Answers
are made when first asked for, so that looking at one object costs little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from control.analysis.index import Indexes
from control.push.config import resolve_host
from control.registry.service import visible
from control.resources import (
    deployment,
    destination_rule,
    gateway,
    namespace,
    pod,
    service,
    virtual_service,
)
from control.resources.istio_types import host_matches
from control.resources.kind import Kind, Object

Labels = Mapping[str, str]
_SYSTEM_NAMESPACES = frozenset(
    {"istio-system", "kube-system", "kube-public", "kube-node-lease", "local-path-storage"}
)


def spec(obj: Object) -> dict[str, Any]:
    return obj.get("spec") or {}


def namespace_of(obj: Object) -> str:
    return str(obj["metadata"].get("namespace") or "")


def full_name(obj: Object) -> str:
    return f"{namespace_of(obj)}/{obj['metadata']['name']}"


def labels_of(obj: Object) -> Labels:
    return (obj.get("metadata") or {}).get("labels") or {}


def covers(selector: Labels, labels: Labels) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def written(labels: Labels) -> str:
    """Labels as a selector on the command line."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def is_system(name: str) -> bool:
    return name in _SYSTEM_NAMESPACES


class Snapshot:
    """Objects by kind."""

    def __init__(
        self,
        objects: Mapping[str, Iterable[Object]],
        *,
        domain: str = "cluster.local",
        root_namespace: str = "istio-system",
        indexes: Indexes | None = None,
    ) -> None:
        """`objects` are keyed by the kind's `resource`. `indexes` may be those of an earlier snapshot of the same domain."""
        self.domain, self.root_namespace = domain, root_namespace
        self._objects = {resource: tuple(found) for resource, found in objects.items()}
        self._indexes = indexes or Indexes(domain)

    def of(self, kind: Kind) -> tuple[Object, ...]:
        return self._objects.get(kind.resource, ())

    def knows(self, kind: Kind) -> bool:
        """Whether objects of this kind were looked for at all."""
        return kind.resource in self._objects

    def resolve(self, host: str, obj: Object) -> str:
        """The FQDN of a host as `obj` writes it."""
        return resolve_host(host, namespace_of(obj), self.domain).lower()

    @cached_property
    def _services(self) -> Mapping[str, list[Object]]:
        return self._indexes.services.of(self.of(service.KIND))

    def service(self, host: str) -> Object | None:
        """The service with this FQDN."""
        return _first(self._services.get(host))

    def has_host(self, host: str) -> bool:
        """Whether a service has this FQDN, or one that a wildcard covers."""
        if host.startswith("*"):
            return any(host_matches(host, name) for name in self._services)
        return host in self._services

    @cached_property
    def _gateways(self) -> Mapping[str, list[Object]]:
        return self._indexes.gateways.of(self.of(gateway.KIND))

    def gateway(self, name: str) -> Object | None:
        """The Gateway `namespace/name`."""
        return _first(self._gateways.get(name))

    @cached_property
    def _virtual_services(self) -> Mapping[str, list[Object]]:
        return self._indexes.virtual_services.of(self.of(virtual_service.KIND))

    def virtual_service(self, name: str) -> Object | None:
        """The VirtualService `namespace/name`."""
        return _first(self._virtual_services.get(name))

    @cached_property
    def mesh_hosts(self) -> Mapping[str, list[Object]]:
        """The VirtualServices bound to sidecars, by each host."""
        return self._indexes.mesh_hosts.of(self.of(virtual_service.KIND))

    @cached_property
    def rule_hosts(self) -> Mapping[str, list[Object]]:
        """The DestinationRules of each host."""
        return self._indexes.rule_hosts.of(self.of(destination_rule.KIND))

    def rules_for(self, host: str) -> Iterator[Object]:
        """The DestinationRules of a host, exact or by wildcard."""
        yield from self.rule_hosts.get(host, ())
        for pattern in self._rule_wildcards:
            if pattern != host and host_matches(pattern, host):
                yield from self.rule_hosts[pattern]

    @cached_property
    def _rule_wildcards(self) -> list[str]:
        return [pattern for pattern in self.rule_hosts if pattern.startswith("*")]

    def workloads(self, selector: Labels, namespace: str | None = None) -> list[Object]:
        """The pods with these labels and, where no pod runs yet, what deployments would make; `metadata` and `spec` of each."""
        found = [obj for obj in self.of(pod.KIND) if covers(selector, labels_of(obj))]
        for obj in self.of(deployment.KIND):
            template = spec(obj).get("template") or {}
            if covers(selector, labels_of(template)):
                meta = {**(template.get("metadata") or {}), "namespace": namespace_of(obj)}
                found.append({"metadata": meta, "spec": template.get("spec") or {}})
        return [obj for obj in found if namespace in (None, namespace_of(obj))]

    def services_selecting(self, namespace: str, labels: Labels) -> list[Object]:
        return [
            obj
            for obj in self.of(service.KIND)
            if namespace_of(obj) == namespace
            and spec(obj).get("selector")
            and covers(spec(obj)["selector"], labels)
        ]

    def namespace_labels(self, name: str) -> Labels:
        return next(
            (labels_of(obj) for obj in self.of(namespace.KIND) if obj["metadata"]["name"] == name), {}
        )


def _first(found: list[Object] | None) -> Object | None:
    return found[0] if found else None


def seen_together(one: Object, other: Object) -> bool:
    """Whether some namespace sees both, by their `exportTo`."""
    sides = [(frozenset(spec(obj).get("exportTo") or ("*",)), namespace_of(obj)) for obj in (one, other)]
    if any("*" in export for export, _ in sides):
        return True
    places = {place for export, owner in sides for place in (*export, owner)} - {"."}
    return any(all(visible(export, owner, place) for export, owner in sides) for place in places)
