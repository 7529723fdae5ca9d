"""All VirtualServices, and those bound to one gateway as a namespace sees them, found by host.

Of several for a host the most specific counts, then the oldest. Reference: istio's pilot/pkg/model/virtualservice.go.
"""

from __future__ import annotations

from collections.abc import Iterable

from control.push.config import VirtualServiceConfig
from control.push.delegates import merge_delegates
from control.push.destination_rules import specificity
from control.resources.istio_types import host_matches


class Bound(tuple[VirtualServiceConfig, ...]):
    """VirtualServices, oldest first."""

    _exact: dict[str, VirtualServiceConfig] | None = None
    _wide: list[tuple[str, VirtualServiceConfig]]

    def best(self, host: str) -> tuple[VirtualServiceConfig, str] | None:
        """The one for a host, with the host of it that matched; None: there is none."""
        if self._exact is None:
            self._exact = self._index()
        exact = self._exact.get(host)  # nothing is more specific
        if exact is not None:
            return exact, host
        best: tuple[VirtualServiceConfig, str] | None = None
        for candidate, config in self._wide:  # oldest first, so only a more specific one replaces
            if host_matches(candidate, host) and (
                best is None or specificity(candidate) > specificity(best[1])
            ):
                best = (config, candidate)
        return best

    def _index(self) -> dict[str, VirtualServiceConfig]:
        exact: dict[str, VirtualServiceConfig] = {}
        self._wide = []
        for config in self:
            for host in config.hosts:
                exact.setdefault(host, config)
                if host.startswith("*"):
                    self._wide.append((host, config))
        return exact


class VirtualServices:
    """All of them, delegates merged into their roots."""

    def __init__(self, configs: Iterable[VirtualServiceConfig], cluster_domain: str) -> None:
        merged = merge_delegates(configs, cluster_domain)
        self.all = tuple(sorted(merged, key=lambda config: config.source.age))
        self.ask_for_labels = any(map(_asks_for_labels, self.all))
        self._bound: dict[tuple[str, str], Bound] = {}

    def bound(self, gateway: str, namespace: str) -> Bound:
        """Those bound to `mesh` or a gateway `namespace/name`, seen from a namespace."""
        key = gateway, namespace
        found = self._bound.get(key)
        if found is None:
            found = self._bound[key] = Bound(
                config for config in self.all if gateway in config.gateways and config.visible_from(namespace)
            )
        return found


def _asks_for_labels(config: VirtualServiceConfig) -> bool:
    rules = [*(config.spec.http or ()), *(config.spec.tls or ()), *(config.spec.tcp or ())]
    return any(match.sourceLabels for rule in rules for match in rule.match or ())
