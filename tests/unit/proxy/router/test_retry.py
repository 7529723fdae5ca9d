"""Which outcomes a policy retries, and how long it waits: tables, and what holds for every policy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.observability import response_flags as flags
from proxy.observability.stats import StatsStore
from proxy.router.retry import CONDITIONS, RetryPolicy
from proxy.router.retry_state import RetryState
from proxy.upstream.circuit_breaker import Resource
from proxy.upstream.failure import ResetReason
from proxy.upstream.retry_budget import RetryBudget
from tests.unit.proxy.in_memory import Mesh, connection_manager, listener, snapshot, static_cluster

R = ResetReason
CONNECT = (R.LOCAL_CONNECTION_FAILURE, R.REMOTE_CONNECTION_FAILURE, R.CONNECTION_TIMEOUT)
BROKEN = (R.CONNECTION_TERMINATION, R.PROTOCOL_ERROR, R.REMOTE_RESET, R.LOCAL_RESET)


def policy(*words: str, **more: object) -> RetryPolicy:
    return RetryPolicy(frozenset(words), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "before", "after"),
    [
        # the resets it retries while nothing was sent, and once something was
        ("5xx", (*CONNECT, *BROKEN, R.REMOTE_REFUSED_STREAM), (*CONNECT, *BROKEN, R.REMOTE_REFUSED_STREAM)),
        ("gateway-error", (*CONNECT, *BROKEN), (*CONNECT, *BROKEN)),
        ("reset", (*CONNECT, *BROKEN), (*CONNECT, *BROKEN)),
        ("connect-failure", CONNECT, CONNECT),
        ("reset-before-request", (*CONNECT, *BROKEN), ()),
        ("refused-stream", (R.REMOTE_REFUSED_STREAM,), (R.REMOTE_REFUSED_STREAM,)),
        ("retriable-4xx", (), ()),
        ("retriable-status-codes", (), ()),
        ("envoy-ratelimited", (), ()),
        ("unavailable", (), ()),
        ("http3-post-connect-failure", (), ()),
    ],
)
def test_resets(word: str, before: tuple[ResetReason, ...], after: tuple[ResetReason, ...]) -> None:
    for sent, wanted in ((False, before), (True, after)):
        found = {reason for reason in R if policy(word).wants_reset(reason, request_sent=sent)}
        assert found >= set(wanted)
        assert found <= set(wanted) | ({R.REMOTE_REFUSED_STREAM} if found & set(BROKEN) else set())


@given(words=st.sets(st.sampled_from(sorted(CONDITIONS))), sent=st.booleans())
def test_overflow_is_never_retried(words: set[str], sent: bool) -> None:
    assert not policy(*words).wants_reset(R.OVERFLOW, request_sent=sent)


@given(words=st.sets(st.sampled_from(sorted(CONDITIONS))), status=st.integers(200, 599))
def test_a_rate_limited_response_is_retried_for_that_alone(words: set[str], status: int) -> None:
    fields = {b"x-envoy-ratelimited": b"true"}
    assert policy(*words).wants_response(status, fields, []) is ("envoy-ratelimited" in words)


def test_retriable_headers() -> None:
    again = policy("retriable-headers", response_headers=(lambda headers: (b"x-again", b"1") in headers,))
    assert again.wants_response(200, {}, [(b"x-again", b"1")])
    assert not again.wants_response(503, {}, [(b"x-again", b"2")])
    assert not policy("retriable-headers").wants_response(503, {}, [])


def test_back_off_doubles_up_to_the_maximum() -> None:
    waits = [policy("5xx").back_off(n, 0.999999) for n in range(1, 8)]
    assert waits == [0.024, 0.049, 0.099, 0.199, 0.249, 0.249, 0.249]
    slow = policy("5xx", base_interval=1.0, max_interval=3.0)
    assert [slow.back_off(n, 0.5) for n in (1, 2, 3, 4)] == [0.5, 1.0, 1.5, 1.5]


@given(retry=st.integers(1, 10_000), draw=st.floats(0, 1, exclude_max=True))
def test_back_off_stays_below_the_maximum(retry: int, draw: float) -> None:
    assert 0 <= policy("5xx").back_off(retry, draw) < 0.25


def _state(limit: int, **more: object) -> tuple[RetryState, Resource, Mesh]:
    plane = Mesh(
        snapshot(
            clusters=[static_cluster("up", circuit_breakers={"thresholds": [{"max_retries": limit}]})],
            listeners=[listener(connection_manager([]))],
        )
    )
    cluster = plane.plane.clusters.clusters["up"]
    return RetryState(policy("5xx", **more), cluster), cluster.breaker.retries, plane


def test_a_unit_is_held_until_the_retry_is_settled() -> None:
    state, retries, plane = _state(3, num_retries=2)
    assert state.take()
    assert retries.count == 1
    assert state.take()  # the retry called for another: its own unit goes back first
    assert retries.count == 1
    assert not state.take()
    assert (retries.count, state.flag) == (1, flags.URX)
    state.release()
    assert retries.count == 0
    assert plane.stat("cluster.up.upstream_rq_retry_limit_exceeded") == 1
    assert plane.stat("cluster.up.upstream_rq_retry_success") == 0


def test_no_room_for_a_retry() -> None:
    state, retries, plane = _state(1, num_retries=2)
    other = RetryState(state.policy, plane.plane.clusters.clusters["up"])
    assert other.take()
    assert not state.take()
    assert state.flag == flags.UO
    other.settle()
    assert retries.count == 0
    assert plane.stat("cluster.up.upstream_rq_retry_overflow") == 1
    assert plane.stat("cluster.up.upstream_rq_retry_success") == 1


@given(outcomes=st.lists(st.sampled_from(["take", "settle", "release"])))
def test_units_never_leak(outcomes: list[str]) -> None:
    state, retries, plane = _state(2, num_retries=3)
    for outcome in outcomes:
        getattr(state, outcome)()
        assert retries.count in (0, 1)
    state.release()
    assert retries.count == 0
    plane.plane.close()


@pytest.mark.parametrize(
    ("percent", "least", "active", "pending", "allowed"),
    [
        (20.0, 3, 0, 0, 3),
        (20.0, 3, 10, 4, 3),
        (20.0, 3, 20, 5, 5),
        (20.0, 0, 4, 0, 0),
        (100.0, 0, 3, 0, 3),
        (0.0, 1, 100, 0, 1),
        (0.0, 0, 100, 0, 0),
    ],
)
def test_a_budget(percent: float, least: int, active: int, pending: int, allowed: int) -> None:
    gauge = StatsStore().gauge("g")
    requests, waiting = Resource(10**6, gauge), Resource(10**6, gauge)
    requests.count, waiting.count = active, pending
    budget = RetryBudget(3, StatsStore().gauge("o"), requests, waiting, percent, least)
    taken = 0
    while budget.allows() and taken < 50:
        budget.take()
        taken += 1
    assert taken == allowed
