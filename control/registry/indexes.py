"""Services and workloads in the orders and by the names they are asked for.

Immutable, like the contexts that share them; made anew only where something changed: a namespace whose pods are the same keeps its
part, and a service whose pods are the same keeps its backends, so identity tells who is unaffected.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from operator import is_

from control.registry.service import Service
from control.registry.workload import Workload, spiffe_id

Label = tuple[str, str]
_MOST_LABELS = 20_000  # sets of labels that are remembered


class Services:
    """All services, oldest first."""

    def __init__(self, services: Iterable[Service]) -> None:
        self.all = tuple(sorted(services, key=_age))
        self.by_host: Mapping[str, Service] = {service.hostname: service for service in self.all}
        self._visible: dict[str, list[Service]] = {}
        self._of: dict[tuple[str, frozenset[Label]], list[Service]] = {}

    @cached_property
    def _by_selector(self) -> Mapping[tuple[str, Label], list[Service]]:
        """By namespace and one label of the selector, the first by name: a workload must have that one, too."""
        found: dict[tuple[str, Label], list[Service]] = {}
        for service in self.all:
            if service.selector:
                found.setdefault((service.namespace, min(service.selector.items())), []).append(service)
        return found

    @cached_property
    def some_headless(self) -> bool:
        return any(service.headless for service in self.all)

    def visible(self, namespace: str) -> list[Service]:
        found = self._visible.get(namespace)
        if found is None:
            found = self._visible[namespace] = [s for s in self.all if s.visible_from(namespace)]
        return found

    def of(self, namespace: str, labels: Mapping[str, str]) -> list[Service]:
        """The services a workload with these labels is behind, oldest first."""
        key = namespace, frozenset(labels.items())
        found = self._of.get(key)
        if found is None:
            near = [one for label in labels.items() for one in self._by_selector.get((namespace, label), ())]
            found = [service for service in near if service.selects(namespace, labels)]
            found.sort(key=_age)
            if len(self._of) >= _MOST_LABELS:  # every rollout brings labels of its own
                self._of.clear()
            self._of[key] = found
        return found


def _age(service: Service) -> tuple[str, str, str]:
    return service.created, service.name, service.namespace


class Backends:
    """The workloads a service selects, ready or not, and who they are."""

    __slots__ = ("_identities", "workloads")

    def __init__(self, workloads: list[Workload]) -> None:
        self.workloads = workloads
        self._identities: tuple[str, list[str]] | None = None

    def identities(self, trust_domain: str) -> list[str]:
        """The SPIFFE IDs they may have, sorted."""
        known = self._identities
        if known is None or known[0] != trust_domain:
            names = {spiffe_id(trust_domain, w.namespace, w.service_account) for w in self.workloads}
            known = self._identities = trust_domain, sorted(names)
        return known[1]


class NamespaceWorkloads:
    """The workloads of one namespace, by name; `before` is what it was."""

    def __init__(self, workloads: Sequence[Workload], before: NamespaceWorkloads | None = None) -> None:
        self.all = workloads
        self._backends: dict[frozenset[Label], Backends] = {}
        self._earlier = before._backends if before is not None else {}

    @cached_property
    def _by_label(self) -> Mapping[Label, list[Workload]]:
        found: dict[Label, list[Workload]] = {}
        for workload in self.all:
            for label in workload.labels.items():
                found.setdefault(label, []).append(workload)
        return found

    def behind(self, service: Service) -> Backends:
        """Those a service of this namespace selects."""
        key = service.selector_key
        found = self._backends.get(key)
        if found is None:
            found = self._backends[key] = self._selected(key)
        return found

    def _selected(self, key: frozenset[Label]) -> Backends:
        lists = [self._by_label.get(label, []) for label in key]
        shortest = min(lists, key=len, default=[])
        # `all` keeps the order by name, whichever list it is.
        workloads = [w for w in shortest if all(w.labels.get(name) == value for name, value in key)]
        before = self._earlier.pop(key, None)
        if before is not None and same(before.workloads, workloads):
            return before
        return Backends(workloads)


class Workloads:
    """All workloads, by namespace and name."""

    def __init__(self, workloads: Iterable[Workload], before: Workloads | None = None) -> None:
        self.all = tuple(sorted(workloads, key=lambda w: (w.namespace, w.name)))
        self.by_name: Mapping[tuple[str, str], Workload] = {(w.namespace, w.name): w for w in self.all}
        self.by_ip: Mapping[str, Workload] = {workload.ip: workload for workload in self.all}
        grouped: dict[str, list[Workload]] = {}
        for workload in self.all:
            grouped.setdefault(workload.namespace, []).append(workload)
        self._namespaces = {name: _namespace(name, found, before) for name, found in grouped.items()}

    def behind(self, service: Service) -> Backends:
        namespace = self._namespaces.get(service.namespace)
        return _NOBODY if namespace is None else namespace.behind(service)


_NOBODY = Backends([])


def _namespace(name: str, workloads: list[Workload], before: Workloads | None) -> NamespaceWorkloads:
    known = before._namespaces.get(name) if before is not None else None
    if known is not None and same(known.all, workloads):
        return known
    return NamespaceWorkloads(workloads, known)


def same(one: Sequence[object], other: Sequence[object]) -> bool:
    """Whether both hold the very same objects in the same order."""
    return len(one) == len(other) and all(map(is_, one, other))
