"""Who gets a connection, who waits and who is refused; counts are those of Envoy 1.40 in the same dialogue."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.observability.stats import StatsStore
from proxy.upstream.circuit_breaker import CircuitBreaker, Resource
from proxy.upstream.cluster_stats import ClusterStats
from proxy.upstream.connector import ConnectSettings
from proxy.upstream.failure import ResetReason, UpstreamReset
from proxy.upstream.host import Host
from proxy.upstream.pool import ConnectionPool
from proxy.upstream.transport import NO_OPTIONS, RAW
from tests.unit.proxy.in_memory import FakeConnector, FakeLoop

UNLIMITED = 1000


class FakeCluster:
    """What a pool uses of its cluster."""

    def __init__(self, *, track: bool = False, per_connection: int = 0, **limits: int) -> None:
        self.store = StatsStore()
        self.stats = ClusterStats(self.store, "c")
        self.connector = FakeConnector(FakeLoop())
        self.connector.automatic = False
        self.connect_settings = ConnectSettings()
        self.max_requests_per_connection = per_connection

        def resource(name: str) -> Resource:
            left = self.store.gauge(f"remaining_{name}") if track else None
            return Resource(limits.get(name, UNLIMITED), self.store.gauge(f"{name}_open"), left)

        names = ("connections", "pending", "requests", "retries")
        self.breaker = CircuitBreaker(*(resource(name) for name in names))


class FakeConnection:
    def __init__(self) -> None:
        self.requests = 0
        self.draining = False
        self.closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


class Request:
    """A request: waiting, served by `connection`, or failed."""

    def __init__(self, pool: ConnectionPool) -> None:
        self.connection: Any = None
        self.failure: UpstreamReset | None = None
        try:
            self.connection = pool.acquire(self)
        except UpstreamReset as failure:
            self.failure = failure

    def on_pool_ready(self, connection: Any) -> None:
        assert self.connection is None
        assert self.failure is None
        self.connection = connection

    def on_pool_failure(self, failure: UpstreamReset) -> None:
        assert self.connection is None
        self.failure = failure

    @property
    def state(self) -> str:
        if self.failure is not None:
            return self.failure.reason.text
        return "waiting" if self.connection is None else "served"


class Pool:
    """A pool, its requests in order, and shorthands for what happens to it."""

    def __init__(self, **options: Any) -> None:
        self.cluster = FakeCluster(**options)
        self.host = Host(("10.0.0.1", 80), RAW)
        cluster: Any = self.cluster
        self.pool = ConnectionPool(cluster, self.host, RAW, NO_OPTIONS, lambda *_: FakeConnection())
        self.requests: list[Request] = []

    def ask(self, count: int = 1) -> None:
        self.requests += [Request(self.pool) for _ in range(count)]

    def connect(self) -> None:
        """The oldest connection on its way is made."""
        self.cluster.connector.attempts.pop(0).succeed()

    def fail(self, reason: ResetReason = ResetReason.REMOTE_CONNECTION_FAILURE) -> None:
        self.cluster.connector.attempts.pop(0).fail(UpstreamReset(reason))

    def finish(self, index: int = 0) -> None:
        """A served request gets its whole answer."""
        self.pool.release(self.requests[index].connection)

    @property
    def states(self) -> list[str]:
        return [request.state for request in self.requests]

    def stat(self, name: str) -> int:
        return int(getattr(self.cluster.stats, name).value)


def test_one_connection_and_one_place_to_wait() -> None:
    pool = Pool(connections=1, pending=1)
    pool.ask()
    pool.connect()
    pool.ask(2)
    assert pool.states == ["served", "waiting", "overflow"]
    failure = pool.requests[2].failure
    assert failure is not None
    assert not failure.at_host
    pool.finish()
    assert pool.states == ["served", "served", "overflow"]
    assert (pool.stat("upstream_rq_pending_overflow"), pool.stat("upstream_cx_total")) == (1, 1)


def test_a_used_up_connection_is_replaced_for_those_who_wait() -> None:
    pool = Pool(connections=1, per_connection=1)
    pool.ask(2)
    pool.connect()
    pool.finish()
    assert pool.requests[0].connection.closed
    assert pool.states == ["served", "waiting"]
    pool.connect()
    assert pool.states == ["served", "served"]
    assert pool.stat("upstream_cx_max_requests") == 2


def test_active_requests_are_limited_when_they_get_their_connection() -> None:
    pool = Pool(requests=1)
    pool.ask(3)
    for _ in range(3):
        pool.connect()
    assert pool.states == ["served", "overflow", "overflow"]
    assert pool.stat("upstream_rq_active_overflow") == 2
    pool.ask()  # there is an idle connection
    assert pool.states[-1] == "overflow"
    pool.finish()
    pool.ask()
    assert pool.states[-1] == "served"
    assert pool.stat("upstream_rq_pending_overflow") == 0


def test_all_who_wait_learn_that_requests_are_limited() -> None:
    pool = Pool(connections=1, requests=0)
    pool.ask(3)
    pool.connect()
    assert pool.states == ["overflow"] * 3


def test_first_come_first_served() -> None:
    pool = Pool(connections=1)
    pool.ask(4)
    pool.connect()
    for index in range(3):
        assert pool.states.count("served") == index + 1
        pool.finish(index)
    assert pool.states == ["served"] * 4
    # Once for each request that had to wait, and once whenever a connection was freed for fewer than all of them.
    assert pool.stat("upstream_cx_overflow") == 6


def test_a_pool_without_a_connection_may_always_open_one() -> None:
    pool = Pool(connections=0)
    pool.ask(2)
    assert len(pool.cluster.connector.attempts) == 1
    assert pool.stat("upstream_cx_overflow") == 2


def test_a_connection_lost_is_replaced_for_those_who_wait() -> None:
    pool = Pool(connections=1)
    pool.ask(2)
    pool.connect()
    pool.pool.discard(pool.requests[0].connection, remote=True)
    assert len(pool.cluster.connector.attempts) == 1
    assert pool.stat("upstream_cx_destroy_remote_with_active_rq") == 1


def test_a_failed_connection_fails_everybody_who_waits() -> None:
    pool = Pool(connections=1)
    pool.ask(3)
    pool.fail(ResetReason.CONNECTION_TIMEOUT)
    assert pool.states == ["connection timeout"] * 3
    assert pool.stat("upstream_rq_pending_failure_eject") == 3
    assert (pool.stat("upstream_cx_connect_timeout"), pool.stat("upstream_cx_destroy_local")) == (1, 1)


def test_a_draining_pool_keeps_no_connection_that_came_for_a_refused_request() -> None:
    pool = Pool(requests=1)
    pool.ask(2)
    pool.connect()
    pool.pool.drain()
    pool.connect()
    assert pool.states == ["served", "overflow"]
    assert pool.stat("upstream_cx_active") == 1
    pool.finish()
    assert pool.pool.empty
    assert pool.stat("upstream_cx_active") == 0


def test_draining_ends_idle_connections_now_and_busy_ones_after_their_request() -> None:
    pool = Pool()
    pool.ask(2)
    pool.connect()
    pool.connect()
    pool.finish(0)
    pool.pool.drain_connections()
    idle, busy = (request.connection for request in pool.requests)
    assert (idle.closed, busy.closed) == (True, False)
    pool.finish(1)
    assert busy.closed
    pool.ask()
    pool.connect()
    pool.finish(2)
    assert not pool.requests[2].connection.closed


@pytest.mark.parametrize("busy", [True, False])
def test_the_longest_time_of_a_connection(busy: bool) -> None:
    pool = Pool()
    pool.ask()
    pool.connect()
    connection = pool.requests[0].connection
    if not busy:
        pool.finish()
    pool.pool.on_too_old(connection)
    assert connection.closed is not busy
    pool.pool.on_too_old(connection)
    assert pool.stat("upstream_cx_max_duration_reached") == 1


def test_what_is_left_is_told_where_it_is_tracked() -> None:
    pool = Pool(track=True, connections=2, pending=3, requests=4)
    pool.ask(3)
    pool.connect()
    pool.connect()
    left = {one.name: one.value for one in pool.cluster.store.gauges() if one.name.startswith("remaining")}
    assert left == {"remaining_connections": 0, "remaining_pending": 2, "remaining_requests": 2, "remaining_retries": UNLIMITED}  # fmt: skip


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in whatever order: what is counted is what there is."""

    def __init__(self) -> None:
        super().__init__()
        self.made = Pool(connections=2, pending=2, requests=3, per_connection=3)
        self.finished: set[Request] = set()

    def served(self) -> list[Request]:
        return [r for r in self.made.requests if r.state == "served" and r not in self.finished]

    @rule()
    def ask(self) -> None:
        self.made.ask()

    @precondition(lambda self: self.made.cluster.connector.attempts)
    @rule()
    def connect(self) -> None:
        self.made.connect()

    @precondition(lambda self: self.made.cluster.connector.attempts)
    @rule()
    def fail(self) -> None:
        self.made.fail()

    @precondition(lambda self: self.served())
    @rule(pick=st.integers(0, 9), reusable=st.booleans())
    def end(self, pick: int, reusable: bool) -> None:
        request = self.served()[pick % len(self.served())]
        self.finished.add(request)
        if reusable:
            self.made.pool.release(request.connection)
        else:
            self.made.pool.discard(request.connection)

    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        waiting = [r for r in self.made.requests if r.state == "waiting"]
        if waiting:
            request = waiting[pick % len(waiting)]
            self.made.pool.cancel(request)
            self.made.requests.remove(request)

    @rule()
    def drain(self) -> None:
        self.made.pool.drain_connections()

    @invariant()
    def counts(self) -> None:
        breaker, host = self.made.cluster.breaker, self.made.host
        waiting = self.made.states.count("waiting")
        assert breaker.pending.count == self.made.pool.waiting == waiting <= 2
        assert breaker.requests.count == host.rq_active == len(self.served()) <= 3
        assert breaker.connections.count == host.cx_active == self.made.stat("upstream_cx_active") <= 2
        assert self.made.stat("upstream_rq_active") == len(self.served())

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        pool = self.made.pool
        if pool.waiting:
            assert pool._busy or pool._connecting
            assert not pool._idle

    @invariant()
    def nobody_shares(self) -> None:
        connections = [request.connection for request in self.served()]
        assert len(set(connections)) == len(connections)
        assert not any(connection.closed for connection in connections)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
