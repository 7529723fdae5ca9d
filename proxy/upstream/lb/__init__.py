"""Load-balancing policies, by Envoy's name for them: the one list."""

from __future__ import annotations

from collections.abc import Callable

from proxy.config.cluster import Cluster
from proxy.upstream.lb.interface import Policy
from proxy.upstream.lb.least_request import LeastRequest
from proxy.upstream.lb.random import Random
from proxy.upstream.lb.round_robin import RoundRobin


def _least_request(config: Cluster) -> Policy:
    options = config.least_request_lb_config
    return LeastRequest(options.choice_count if options else 2)


POLICIES: dict[str, Callable[[Cluster], Policy]] = {
    "ROUND_ROBIN": lambda _: RoundRobin(),
    "LEAST_REQUEST": _least_request,
    "RANDOM": lambda _: Random(),
}
