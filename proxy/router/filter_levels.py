"""What a route says to single HTTP filters, from all the levels it may be said at.

Weighted cluster, route, virtual host and table each may have `typed_per_filter_config`; how they combine is each filter's own
affair, so the levels go to `PerFilter` together, most specific first. Knows no filter.
Reference: Envoy source/common/router/config_impl.cc `mostSpecificPerFilterConfig`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from proxy.config.per_filter import PerFilterConfig
from proxy.config.route import ClusterWeight, Route, RouteConfiguration, VirtualHost

PerFilter = Callable[[list[PerFilterConfig]], Mapping[str, Any]]
"""Makes of the levels that say something, most specific first, what the filters get, by name; raises ValueError(".path: why")."""


def nothing(_: list[PerFilterConfig]) -> Mapping[str, Any]:
    """For those who look routes up and run no filters."""
    return {}


class FilterLevels:
    """The levels around one route. `of_route` is None if none of them says anything."""

    def __init__(self, around: Iterable[Route | VirtualHost | RouteConfiguration], per_filter: PerFilter):
        found = (level.typed_per_filter_config for level in around)
        self._levels = [level for level in found if level is not None]
        self._per_filter = per_filter
        self.of_route = per_filter(self._levels) if self._levels else None

    def of_destination(self, weighted: ClusterWeight) -> Mapping[str, Any] | None:
        """The same for requests that go to this destination of the route."""
        own = weighted.typed_per_filter_config
        return self.of_route if own is None else self._per_filter([own, *self._levels])
