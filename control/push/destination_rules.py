"""Which DestinationRule a client uses for a host, and how several for one host merge.

Candidates: the client's namespace, the service's, the root namespace; the first that has a matching host wins, and in it the
most specific host. Reference: istio's pilot/pkg/model/destination_rule.go and push_context.go (destinationRule).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from control.push.config import DestinationRuleConfig
from control.resources.destination_rule import DestinationRuleSpec
from control.resources.istio_types import host_matches


def merge(older: DestinationRuleConfig, newer: DestinationRuleConfig) -> DestinationRuleConfig:
    """Subsets with new names are added; the older one's traffic policy stays."""
    known = {subset.name for subset in older.spec.subsets or ()}
    extra = [subset for subset in newer.spec.subsets or () if subset.name not in known]
    policy = older.spec.trafficPolicy or newer.spec.trafficPolicy
    spec = older.spec.model_copy(
        update={"subsets": [*(older.spec.subsets or ()), *extra], "trafficPolicy": policy}
    )
    return DestinationRuleConfig(
        (*older.sources, *newer.sources), older.host, older.export_to | newer.export_to, spec
    )


def specificity(host: str) -> tuple[bool, int]:
    """Sorts hosts: exact names above wildcards, longer above shorter."""
    return (not host.startswith("*"), len(host))


class DestinationRules:
    """All DestinationRules, asked per client and host."""

    def __init__(self, rules: Iterable[DestinationRuleConfig], root_namespace: str) -> None:
        self._root = root_namespace
        self._merged: dict[str, dict[str, DestinationRuleConfig]] = {}
        self._wildcards: dict[str, list[DestinationRuleConfig]] = {}
        self._chosen: dict[tuple[str, str, str], DestinationRuleConfig | None] = {}
        self._selective: dict[str, list[DestinationRuleConfig]] = {}
        for rule in sorted(rules, key=lambda r: r.source.age):
            if rule.spec.workloadSelector and rule.spec.workloadSelector.matchLabels:
                self._selective.setdefault(rule.source.namespace, []).append(rule)
                continue
            hosts = self._merged.setdefault(rule.source.namespace, {})
            hosts[rule.host] = merge(hosts[rule.host], rule) if rule.host in hosts else rule
        for namespace, hosts in self._merged.items():
            wide = [rule for host, rule in hosts.items() if host.startswith("*")]
            if wide:
                self._wildcards[namespace] = wide

    @property
    def selective(self) -> bool:
        """Whether any rule depends on the labels of the client."""
        return bool(self._selective)

    @property
    def specs(self) -> list[DestinationRuleSpec]:
        """All of them, in no order."""
        merged = [rule for hosts in self._merged.values() for rule in hosts.values()]
        return [rule.spec for rule in (*merged, *chain.from_iterable(self._selective.values()))]

    def find(
        self, host: str, service_namespace: str, client_namespace: str, labels: Mapping[str, str]
    ) -> DestinationRuleConfig | None:
        if self._selective:
            own = self._selective.get(client_namespace, ())
            chosen = _most_specific((rule for rule in own if _selected(rule, labels)), host)
            if chosen is not None:
                return chosen
        key = (host, service_namespace, client_namespace)
        if key not in self._chosen:
            self._chosen[key] = self._choose(*key)
        return self._chosen[key]

    def _choose(
        self, host: str, service_namespace: str, client_namespace: str
    ) -> DestinationRuleConfig | None:
        for namespace in dict.fromkeys((client_namespace, service_namespace, self._root)):
            rules = self._merged.get(namespace)
            if rules is None:
                continue
            exact = rules.get(host)  # nothing is more specific
            if exact is not None and exact.visible_from(client_namespace):
                return exact
            wide = self._wildcards.get(namespace, ())
            chosen = _most_specific((r for r in wide if r.visible_from(client_namespace)), host)
            if chosen is not None:
                return chosen
        return None


def _selected(rule: DestinationRuleConfig, labels: Mapping[str, str]) -> bool:
    wanted = (rule.spec.workloadSelector.matchLabels if rule.spec.workloadSelector else None) or {}
    return all(labels.get(key) == value for key, value in wanted.items())


def _most_specific(rules: Iterable[DestinationRuleConfig], host: str) -> DestinationRuleConfig | None:
    matching = [rule for rule in rules if host_matches(rule.host, host)]
    return max(matching, key=lambda rule: specificity(rule.host), default=None)
