"""What the levels of a route say to each HTTP filter, combined as that filter combines them: the one list of these filters.

The most specific level counts, as a whole; for CORS property by property. None stands for a filter that is switched off.
A message is compiled once per route table, so that the routes of a virtual host share its rate limit.
Reference: Envoy source/common/http/utility.h `resolveMostSpecificPerFilterConfig`, `getAllPerFilterConfig`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from proxy.config.per_filter import (
    CORS,
    FAULT,
    LOCAL_RATE_LIMIT,
    CorsPolicy,
    FilterConfig,
    HTTPFault,
    LocalRateLimit,
    PerFilterConfig,
)
from proxy.http.filters.cors import cors_policy
from proxy.http.filters.fault import fault_policy
from proxy.http.filters.local_rate_limit import Limiter
from proxy.http.rate_limiter import MakeBucket, own_bucket
from proxy.observability.stats import StatsStore

_Message = HTTPFault | CorsPolicy | LocalRateLimit


class RouteFilters:
    """See `proxy.router.filter_levels.PerFilter`; one for each route table. `buckets(number)` makes those of one limit."""

    def __init__(
        self,
        stats: StatsStore,
        now: Callable[[], float],
        buckets: Callable[[str], MakeBucket] = lambda _: own_bucket,
    ) -> None:
        self._buckets = buckets
        self._stats = stats
        self._now = now
        self._compiled: dict[int, Any] = {}  # by id of the message, which lives as long as its table

    def __call__(self, levels: list[PerFilterConfig]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for name, field, combine in (
            (FAULT, "fault", self._fault),
            (CORS, "cors", cors_policy),
            (LOCAL_RATE_LIMIT, "local_rate_limit", self._rate_limit),
        ):
            given = [said for level in levels if (said := getattr(level, field)) is not None]
            if given:
                messages = _enabled(given)
                try:
                    found[name] = combine(messages) if messages else None
                except ValueError as error:
                    raise ValueError(f".typed_per_filter_config.{name}{error}") from None
        return found

    def _fault(self, levels: list[HTTPFault]) -> object:
        return self._once(levels[0], lambda: fault_policy(levels[0]))

    def _rate_limit(self, levels: list[LocalRateLimit]) -> object:
        return self._once(levels[0], lambda: self._limiter(levels[0]))

    def _limiter(self, message: LocalRateLimit) -> Limiter:
        # A table is always built in the same order: the number stands for the same limit in every worker.
        return Limiter(message, self._stats, self._now, self._buckets(str(len(self._compiled))))

    def _once(self, message: object, make: Callable[[], object]) -> object:
        if id(message) not in self._compiled:
            self._compiled[id(message)] = make()
        return self._compiled[id(message)]


def _enabled(given: list[_Message | FilterConfig]) -> list[Any]:
    """The messages of the levels; none if the most specific one switches the filter off."""
    first = given[0]
    if isinstance(first, FilterConfig) and first.disabled:
        return []
    bare = (one.config if isinstance(one, FilterConfig) else one for one in given)
    return [one for one in bare if one is not None]
