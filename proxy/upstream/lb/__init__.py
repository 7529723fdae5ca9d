"""Load-balancing policies, by Envoy's name for them: the one list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from proxy.config.cluster import Cluster
from proxy.config.load_balancing import (
    LeastRequestLbConfig,
    MaglevLbConfig,
    RingHashLbConfig,
    SlowStartConfig,
)
from proxy.observability.stats import Counter
from proxy.upstream.lb.balancer import Balancer, GroupBalancer, LocalityRule
from proxy.upstream.lb.hash_balancer import HashBalancer
from proxy.upstream.lb.hashing import HASH_FUNCTIONS
from proxy.upstream.lb.interface import Draw, Later
from proxy.upstream.lb.least_request import LeastRequest
from proxy.upstream.lb.maglev import maglev
from proxy.upstream.lb.priority_load import PANIC_THRESHOLD
from proxy.upstream.lb.random import Random
from proxy.upstream.lb.ring_hash import ring_hash
from proxy.upstream.lb.round_robin import RoundRobin
from proxy.upstream.lb.slow_start import SlowStart

Now = Callable[[], float]
_MIN_WEIGHT = 10.0  # %; Envoy's default of a host in slow start


@dataclass(frozen=True, slots=True)
class Means:
    """What a balancer works with: random numbers, the time in s, and a call a little later."""

    draw: Draw
    now: Now
    later: Later


def build_balancer(config: Cluster, means: Means, panics: Counter) -> Balancer | None:
    """What picks the cluster's hosts; None where the cluster provides them itself. `panics` counts picks in panic."""
    make = POLICIES.get(config.lb_policy)
    return None if make is None else make(config, means, _rule(config, panics))


def _rule(config: Cluster, panics: Counter) -> LocalityRule:
    common = config.common_lb_config
    threshold, weighted = None, False
    if common is not None:
        threshold, weighted = common.healthy_panic_threshold, common.locality_weighted_lb_config is not None
    percent = PANIC_THRESHOLD if threshold is None else round(threshold.value)
    return LocalityRule(panics, weighted=weighted, panic_threshold=percent)


def _slow_start(config: SlowStartConfig | None, now: Now) -> SlowStart | None:
    if config is None or not config.slow_start_window:
        return None
    aggression = 1.0 if config.aggression is None else config.aggression.default_value
    least = _MIN_WEIGHT if config.min_weight_percent is None else config.min_weight_percent.value
    return SlowStart(float(config.slow_start_window), aggression, least / 100, now)


def _round_robin(config: Cluster, means: Means, rule: LocalityRule) -> Balancer:
    options = config.round_robin_lb_config
    slow = _slow_start(options.slow_start_config if options else None, means.now)
    return GroupBalancer(lambda: RoundRobin(slow), means.draw, rule, slow)


def _least_request(config: Cluster, means: Means, rule: LocalityRule) -> Balancer:
    options = config.least_request_lb_config or LeastRequestLbConfig()
    slow = _slow_start(options.slow_start_config, means.now)
    bias = 1.0 if options.active_request_bias is None else options.active_request_bias.default_value
    return GroupBalancer(lambda: LeastRequest(options.choice_count, bias, slow), means.draw, rule, slow)


def _random(_: Cluster, means: Means, rule: LocalityRule) -> Balancer:
    return GroupBalancer(Random, means.draw, rule)


def _ring_hash(config: Cluster, means: Means, rule: LocalityRule) -> Balancer:
    options = config.ring_hash_lb_config or RingHashLbConfig()
    make = partial(
        ring_hash,
        minimum=options.minimum_ring_size,
        maximum=options.maximum_ring_size,
        hash_function=HASH_FUNCTIONS[options.hash_function],
    )
    return HashBalancer(make, means.draw, rule, means.later)


def _maglev(config: Cluster, means: Means, rule: LocalityRule) -> Balancer:
    options = config.maglev_lb_config or MaglevLbConfig()
    return HashBalancer(partial(maglev, size=options.table_size), means.draw, rule, means.later)


POLICIES: dict[str, Callable[[Cluster, Means, LocalityRule], Balancer]] = {
    "ROUND_ROBIN": _round_robin,
    "LEAST_REQUEST": _least_request,
    "RANDOM": _random,
    "RING_HASH": _ring_hash,
    "MAGLEV": _maglev,
}
