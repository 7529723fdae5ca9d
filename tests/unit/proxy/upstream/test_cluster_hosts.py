"""Endpoint updates: what they change for load balancing, and what they leave alone."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.observability.stats import StatsStore
from proxy.upstream.automatic_names import AutomaticNames
from proxy.upstream.cluster import Cluster
from proxy.upstream.cluster_stats import ClusterStats
from proxy.upstream.transport import Transport
from tests.unit.proxy.upstream.lb.members import members


class Recorder:
    """A balancer that only counts."""

    direct = None
    hashes = False
    updates = 0

    def draw(self) -> float:
        return 0.0

    def update(self, sets: Any) -> None:
        self.updates += 1
        self.sets = sets

    def pick(self, key: Any, attempt: int, attempted: Any) -> None:
        return None


def cluster() -> tuple[Cluster, Recorder, StatsStore]:
    recorder, stats = Recorder(), StatsStore()
    anything: Any = None
    made = Cluster(
        "c",
        stats=ClusterStats(stats, "c"),
        breaker=anything,
        connector=anything,
        wrap=anything,
        balancer=recorder,
        connect_settings=anything,
    )
    return made, recorder, stats


def test_an_update_that_changes_nothing_is_no_update() -> None:
    made, recorder, _ = cluster()
    for _ in range(3):
        made.set_hosts(members("HU"))
    assert recorder.updates == 1


@pytest.mark.parametrize(
    "changed",
    [
        members("HH"),
        members("H"),
        members("HUH"),
        members("HU", weight=2),
        members("HU", priority=1),
        members("HU", locality=("r", "", "")),
        members("HU", locality_weight=3),
        members("HU", metadata={"envoy.lb": {"hash_key": "k"}}),
    ],
)
def test_what_matters_is_told(changed: Any) -> None:
    made, recorder, _ = cluster()
    made.set_hosts(members("HU"))
    made.set_hosts(changed)
    assert recorder.updates == 2


def test_overprovisioning_matters() -> None:
    made, recorder, _ = cluster()
    made.set_hosts(members("HU"))
    made.overprovisioning = 200
    made.set_hosts(members("HU"))
    assert recorder.updates == 2
    assert recorder.sets[0].overprovisioning == 200


def test_the_first_update_may_be_empty() -> None:
    made, recorder, _ = cluster()
    made.set_hosts([])
    assert recorder.updates == 1


def test_membership_is_counted_by_priority() -> None:
    made, _, stats = cluster()
    made.set_hosts([*members("HUD"), *members("H", 10, priority=1)])
    made.set_hosts([*members("HUD"), *members("HH", 10, priority=1)])
    values = {name: stats.counter(f"cluster.c.{name}").value for name in ("membership_change",)}
    values |= {
        name: stats.gauge(f"cluster.c.{name}").value
        for name in ("membership_total", "membership_healthy", "membership_degraded")
    }
    assert values == {
        "membership_change": 3,
        "membership_total": 5,
        "membership_healthy": 3,
        "membership_degraded": 1,
    }


def test_callers_cannot_fill_a_host_with_pools() -> None:
    made, _, _ = cluster()
    (host,) = members("H")
    anything: Any = object()
    host.transport = Transport("tls", anything)
    made.automatic_names = AutomaticNames(sni=True, validate=False)
    used = made.pool(host, None, b"used.test")
    anything = object()
    used._idle.append(anything)
    for number in range(1000):
        made.pool(host, None, b"h%d.test" % number)
    assert len(host.pools) <= 64
    assert made.pool(host, None, b"used.test") is used
