"""A retry budget: how many retries may be under way, as a share of the requests under way.

Takes the place of a fixed maximum in a cluster's breaker. Pure arithmetic over the breaker's other counts.
Reference: envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget; Envoy source/common/upstream/resource_manager_impl.h.
"""

from __future__ import annotations

from proxy.config.cluster import RetryBudget as RetryBudgetConfig
from proxy.observability.stats import Gauge
from proxy.upstream.circuit_breaker import Resource, SharedCount

DEFAULT_PERCENT = 20.0
DEFAULT_MIN_CONCURRENCY = 3


class RetryBudget(Resource):
    """`percent` of the requests active or pending, and never less than `min_concurrency` retries.

    `limit` is the maximum the budget replaces; the gauge goes on telling of that one, as Envoy's does.
    """

    __slots__ = ("_min_concurrency", "_pending", "_requests", "_share")

    def __init__(
        self,
        limit: int,
        gauge: Gauge,
        requests: Resource,
        pending: Resource,
        percent: float,
        min_concurrency: int,
    ) -> None:
        super().__init__(limit, gauge)
        self._requests = requests
        self._pending = pending
        self._share = percent / 100
        self._min_concurrency = min_concurrency

    def allows(self) -> bool:
        active = self._requests.count + self._pending.count
        return self.count < max(int(self._share * active), self._min_concurrency)


class SharedRetryBudget(RetryBudget):
    """A budget that all workers of a sidecar take from; so are the counts of `requests` and `pending` theirs."""

    __slots__ = ("shared",)

    def __init__(
        self,
        shared: SharedCount,
        limit: int,
        gauge: Gauge,
        requests: Resource,
        pending: Resource,
        percent: float,
        min_concurrency: int,
    ) -> None:
        self.shared = shared
        super().__init__(limit, gauge, requests, pending, percent, min_concurrency)

    @property
    def count(self) -> int:
        return self.shared.get()

    @count.setter
    def count(self, value: int) -> None:
        self.shared.set(value)


def build(
    config: RetryBudgetConfig,
    max_retries: int,
    gauge: Gauge,
    requests: Resource,
    pending: Resource,
    shared: SharedCount | None = None,
) -> RetryBudget:
    """The budget of a threshold, in place of its `max_retries`; `shared` with other workers, if there are any."""
    percent = DEFAULT_PERCENT if config.budget_percent is None else config.budget_percent.value
    least = config.min_retry_concurrency
    least = DEFAULT_MIN_CONCURRENCY if least is None else least
    if shared is None:
        return RetryBudget(max_retries, gauge, requests, pending, percent, least)
    return SharedRetryBudget(shared, max_retries, gauge, requests, pending, percent, least)
