"""Which LocalRateLimit holds for a workload's port, and which for a route.

Of several the narrowest counts: one that names the port before one that selects the workload, before the namespace's, before
the root namespace's; of equals the oldest. Invariant: one port or route has one limit, never a sum of several.
Reference: docs/local-rate-limit.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from control.push.config import LocalRateLimitConfig


class RateLimits:
    """All LocalRateLimits, asked per workload port or per route."""

    def __init__(self, configs: Iterable[LocalRateLimitConfig], root_namespace: str) -> None:
        self._root = root_namespace
        self._inbound: dict[str, list[LocalRateLimitConfig]] = {}
        self._routes: dict[tuple[str, str, str | None], LocalRateLimitConfig] = {}
        for config in sorted(configs, key=lambda one: one.source.age):
            if config.spec.routes is None:
                self._inbound.setdefault(config.source.namespace, []).append(config)
            for target in config.spec.routes or ():
                for name in target.names or (None,):
                    key = (config.source.namespace, target.virtualService, name)
                    self._routes.setdefault(key, config)

    @property
    def on_routes(self) -> bool:
        """Whether any route is limited."""
        return bool(self._routes)

    def of_port(
        self, namespace: str, labels: Mapping[str, str], port: int | None
    ) -> LocalRateLimitConfig | None:
        candidates = list(self._inbound.get(namespace, ()))
        if namespace != self._root:
            candidates += self._inbound.get(self._root, ())
        fitting = [one for one in candidates if _fits(one, labels, port)]
        return min(fitting, key=lambda one: self._width(one, namespace), default=None)

    @staticmethod
    def _width(config: LocalRateLimitConfig, namespace: str) -> tuple[bool, bool, bool]:
        """Smaller is narrower; `min` keeps the first, oldest, of equals."""
        return (config.source.namespace != namespace, not config.spec.ports, not config.labels)

    def of_route(self, namespace: str, virtual_service: str, name: str | None) -> LocalRateLimitConfig | None:
        """`name` is that of the rule; one that names it goes before one for the whole VirtualService."""
        named = self._routes.get((namespace, virtual_service, name)) if name else None
        return named or self._routes.get((namespace, virtual_service, None))


def _fits(config: LocalRateLimitConfig, labels: Mapping[str, str], port: int | None) -> bool:
    ports = config.spec.ports
    return (ports is None or port in ports) and all(
        labels.get(key) == value for key, value in config.labels.items()
    )
