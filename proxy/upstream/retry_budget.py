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
        shared: SharedCount | None = None,
    ) -> None:
        super().__init__(limit, gauge, None, shared)
        self._requests = requests
        self._pending = pending
        self._share = percent / 100
        self._min_concurrency = min_concurrency

    def allows(self) -> bool:
        active = self._requests.total() + self._pending.total()
        return self.total() < max(int(self._share * active), self._min_concurrency)


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
    return RetryBudget(max_retries, gauge, requests, pending, percent, least, shared)
