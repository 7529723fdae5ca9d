"""Which hosts are ejected, for how long, and what is counted; the numbers were seen on Envoy 1.40."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.outlier_detection import OutlierDetection
from proxy.deadlines import Deadlines
from proxy.observability.stats import StatsStore
from proxy.upstream.failure import ResetReason
from proxy.upstream.host import Host
from proxy.upstream.outlier_detection import OutlierDetector, OutlierStats
from proxy.upstream.outlier_monitor import OutlierMonitor, SharedFailures
from proxy.upstream.transport import RAW
from tests.unit.proxy.in_memory import FakeLoop

REFUSED = ResetReason.REMOTE_CONNECTION_FAILURE


class World:
    """A detector over so many hosts, and a clock to move."""

    def __init__(
        self,
        hosts: int = 2,
        *,
        statuses: frozenset[int] | None = None,
        shared: SharedFailures | None = None,
        **fields: Any,
    ) -> None:
        self.loop = FakeLoop()
        self.store = StatsStore()
        self.changes = 0
        self.draw = 0.0
        config: dict[str, Any] = {"max_ejection_percent": 100, "enforcing_success_rate": 0, **fields}
        self.deadlines = Deadlines(self.loop.call_later, self.loop.time)
        self.detector = OutlierDetector(
            OutlierDetection(**config),
            OutlierStats(self.store, "c"),
            deadlines=self.deadlines,
            draw=lambda: self.draw,
            changed=self._changed,
            error_statuses=statuses,
            shared=lambda _: shared,
        )
        self.hosts = [Host(("10.0.0.1", port), RAW) for port in range(hosts)]
        self.detector.set_hosts(self.hosts)

    def _changed(self) -> None:
        self.changes += 1

    def monitor(self, index: int = 0) -> OutlierMonitor:
        monitor = self.hosts[index].monitor
        assert isinstance(monitor, OutlierMonitor)
        return monitor

    def respond(self, *statuses: int, host: int = 0) -> None:
        for status in statuses:
            self.monitor(host).on_response(status)

    @property
    def ejected(self) -> list[int]:
        return [index for index, host in enumerate(self.hosts) if host.ejected]

    def stats(self) -> dict[str, int]:
        prefix = "cluster.c.outlier_detection.ejections_"
        counters, gauges, _ = self.store.plain()
        found = {one.name: one.value for one in counters} | {one.name: one.value for one in gauges}
        return {name.removeprefix(prefix): value for name, value in found.items() if value}


CONSECUTIVE = {
    "active": 1,
    "consecutive_5xx": 1,
    "detected_consecutive_5xx": 1,
    "enforced_consecutive_5xx": 1,
    "enforced_total": 1,
    "total": 1,
}


def test_failures_in_a_row_eject() -> None:
    world = World(consecutive_5xx=3)
    world.respond(500, 503, 200, 500, 500)
    assert world.ejected == []
    world.respond(500)
    assert (world.ejected, world.changes, world.stats()) == ([0], 1, CONSECUTIVE)


def test_failures_of_an_ejected_host_are_not_reported() -> None:
    world = World(consecutive_5xx=1)
    world.respond(500, 500, 500)
    assert world.stats() == CONSECUTIVE


@pytest.mark.parametrize(
    ("happens", "gateway"),
    [
        (lambda monitor: monitor.on_failure(REFUSED), True),
        (lambda monitor: monitor.on_failure(ResetReason.CONNECTION_TERMINATION), True),
        (lambda monitor: monitor.on_timeout(), True),
        (lambda monitor: monitor.on_response(502), True),
        (lambda monitor: monitor.on_response(500), False),
        (lambda monitor: monitor.on_response(501), False),
        (lambda monitor: monitor.on_response(404), None),
        (lambda monitor: monitor.on_failure(ResetReason.OVERFLOW), None),
        (lambda monitor: monitor.on_connected(), None),
        (lambda monitor: monitor.on_tcp_connected(), None),
    ],
)
def test_what_counts_as_an_error(happens: Any, gateway: bool | None) -> None:
    world = World(consecutive_5xx=2, consecutive_gateway_failure=2)
    happens(world.monitor())
    happens(world.monitor())
    assert world.ejected == ([] if gateway is None else [0])
    assert world.stats().get("detected_consecutive_gateway_failure", 0) == int(gateway or 0)


def test_a_success_between_failures() -> None:
    world = World(consecutive_5xx=2)
    world.monitor().on_failure(REFUSED)
    world.monitor().on_tcp_connected()
    world.monitor().on_failure(REFUSED)
    assert world.ejected == []
    world.monitor().on_connected()  # of HTTP says nothing yet
    world.monitor().on_failure(REFUSED)
    assert world.ejected == [0]


def test_errors_of_our_own_side_apart() -> None:
    world = World(
        consecutive_5xx=2, consecutive_local_origin_failure=3, split_external_local_origin_errors=True
    )
    monitor = world.monitor()
    monitor.on_failure(REFUSED)
    monitor.on_timeout()
    world.respond(500)
    monitor.on_connected()
    monitor.on_failure(REFUSED)
    monitor.on_failure(REFUSED)
    assert world.ejected == []
    monitor.on_failure(REFUSED)
    assert world.stats() == {
        "active": 1,
        "detected_consecutive_local_origin_failure": 1,
        "enforced_consecutive_local_origin_failure": 1,
        "enforced_total": 1,
    }


@pytest.mark.parametrize(
    ("status", "ejected", "gateway"), [(429, [0], 0), (502, [0], 1), (503, [], 0), (200, [], 0)]
)
def test_a_list_of_codes_takes_the_place_of_5xx(status: int, ejected: list[int], gateway: int) -> None:
    world = World(statuses=frozenset({429, 502}), consecutive_5xx=3, consecutive_gateway_failure=2)
    world.respond(status, status, status)
    assert world.ejected == ejected
    assert world.stats().get("detected_consecutive_gateway_failure", 0) == gateway


@pytest.mark.parametrize(
    ("hosts", "percent", "always_one", "ejected"),
    [(2, 10, False, 0), (2, 10, True, 1), (10, 10, False, 1), (4, 50, False, 2), (3, 100, False, 3), (2, 0, False, 0), (2, 0, True, 1)],
)  # fmt: skip
def test_how_many_may_be_ejected(hosts: int, percent: int, always_one: bool, ejected: int) -> None:
    world = World(hosts, consecutive_5xx=1, max_ejection_percent=percent, always_eject_one_host=always_one)
    for index in range(hosts):
        world.respond(500, host=index)
    assert len(world.ejected) == ejected
    assert world.stats().get("overflow", 0) == hosts - ejected


def test_a_refused_ejection_starts_the_count_again() -> None:
    world = World(2, consecutive_5xx=2, max_ejection_percent=10)
    world.respond(500, 500, 500)
    assert world.stats()["overflow"] == 1
    world.respond(500)
    assert world.stats()["overflow"] == 2


@pytest.mark.parametrize(("draw", "ejected"), [(0.29, [0]), (0.3, [])])
def test_enforced_in_part(draw: float, ejected: list[int]) -> None:
    world = World(consecutive_5xx=1, enforcing_consecutive_5xx=30)
    world.draw = draw
    world.respond(500)
    assert world.ejected == ejected
    assert world.stats()["detected_consecutive_5xx"] == 1


def test_gateway_errors_are_only_counted_unless_enforced() -> None:
    world = World(consecutive_5xx=0, consecutive_gateway_failure=2)
    world.respond(503, 503)
    assert (world.ejected, world.stats()) == ([], {"detected_consecutive_gateway_failure": 1})
    world = World(consecutive_5xx=0, consecutive_gateway_failure=2, enforcing_consecutive_gateway_failure=100)
    world.respond(503, 500, 503, 503)
    assert world.ejected == [0]


def _seconds_out(world: World) -> int:
    """How long the host is out when it fails now, by the second."""
    world.respond(500)
    assert world.ejected == [0]
    seconds = 0
    while world.ejected:
        world.loop.advance(1.0)
        seconds += 1
    return seconds


def test_ejections_grow_and_shrink() -> None:
    world = World(consecutive_5xx=1, interval=1.0, base_ejection_time=3.0, max_ejection_time=7.0)
    world.loop.advance(0.1)
    # Each up to the sweep that follows: 3, 6, 9 and 12 s, but no more than 7.
    assert [_seconds_out(world) for _ in range(4)] == [4, 7, 8, 8]
    world.loop.advance(1.0)  # one quiet interval
    assert world.monitor().multiplier == 3
    world.loop.advance(5.0)
    assert _seconds_out(world) == 4


def test_a_host_returns_only_with_a_sweep_and_with_a_clean_record() -> None:
    world = World(consecutive_5xx=2, interval=10.0, base_ejection_time=11.0)
    world.respond(500, 500, 500)
    world.loop.advance(19.9)
    assert world.ejected == [0]
    world.loop.advance(0.2)
    assert (world.ejected, world.changes, world.stats()["enforced_total"]) == ([], 2, 1)
    assert "active" not in world.stats()
    world.respond(500)
    assert world.ejected == []


def test_jitter() -> None:
    world = World(consecutive_5xx=1, interval=1.0, base_ejection_time=1.0, max_ejection_time_jitter=4.0)
    world.draw = 0.5
    world.respond(500)
    world.loop.advance(2.9)
    assert world.ejected == [0]
    world.loop.advance(0.2)
    assert world.ejected == []


RATES: dict[str, Any] = {
    "consecutive_5xx": 0,
    "interval": 1.0,
    "success_rate_minimum_hosts": 3,
    "success_rate_request_volume": 5,
    "success_rate_stdev_factor": 1000,
    "failure_percentage_minimum_hosts": 3,
    "failure_percentage_request_volume": 5,
    "failure_percentage_threshold": 50,
}


def _one_bad_of_five(**fields: Any) -> World:
    world = World(5, **{**RATES, **fields})
    for _ in range(12):
        world.respond(500)
        for index in range(1, 5):
            world.respond(200, host=index)
    world.loop.advance(1.01)
    return world


def test_success_rate() -> None:
    world = _one_bad_of_five(enforcing_success_rate=100)
    limits = world.detector.average
    assert (world.ejected, limits.average, limits.ejection, world.monitor().rate) == ([0], 80.0, 40.0, 0.0)
    assert world.stats() == {
        "active": 1,
        "detected_success_rate": 1,
        "enforced_success_rate": 1,
        "enforced_total": 1,
        "success_rate": 1,
        "total": 1,
    }
    world.loop.advance(1.0)
    assert (world.detector.average.average, world.monitor(1).rate) == (-1.0, -1.0)


def test_failure_percentage() -> None:
    world = _one_bad_of_five(success_rate_minimum_hosts=9, enforcing_failure_percentage=100)
    assert (world.ejected, world.detector.average.average) == ([0], -1.0)
    assert world.stats() == {
        "active": 1,
        "detected_failure_percentage": 1,
        "enforced_failure_percentage": 1,
        "enforced_total": 1,
    }


def test_both_judgements_eject_once() -> None:
    world = _one_bad_of_five(enforcing_success_rate=100, enforcing_failure_percentage=100)
    assert (world.ejected, world.stats()["active"], world.stats()["enforced_total"]) == ([0], 1, 1)


@pytest.mark.parametrize("fields", [{"success_rate_minimum_hosts": 6}, {"success_rate_request_volume": 13}])
def test_too_little_to_judge(fields: dict[str, int]) -> None:
    world = _one_bad_of_five(enforcing_success_rate=100, failure_percentage_minimum_hosts=6, **fields)
    assert (world.ejected, world.detector.average.average) == ([], -1.0)


def test_rates_of_our_own_side() -> None:
    world = World(3, split_external_local_origin_errors=True, consecutive_local_origin_failure=0, **RATES)
    for _ in range(6):
        world.monitor().on_failure(REFUSED)
        for index in (1, 2):
            world.monitor(index).on_connected()
            world.respond(200, host=index)
    world.loop.advance(1.01)
    assert (world.ejected, world.monitor().local_rate, world.monitor(1).rate) == ([0], 0.0, 100.0)
    assert world.stats() == {
        "active": 1,
        "detected_local_origin_success_rate": 1,
        "enforced_local_origin_success_rate": 1,
        "enforced_total": 1,
        "success_rate": 1,
    }


def test_load_balancing_learns_of_changes_in_bundles() -> None:
    world = World(4, consecutive_5xx=1)
    world.respond(500, host=0)
    assert world.changes == 1
    world.loop.advance(0.4)
    world.respond(500, host=1)
    world.respond(500, host=2)
    assert world.changes == 1
    world.loop.advance(0.9)
    assert world.changes == 1
    world.loop.advance(0.2)
    assert world.changes == 2
    world.loop.advance(1.1)
    world.respond(500, host=3)
    assert world.changes == 3


def test_hosts_that_come_end_the_wait() -> None:
    world = World(3, consecutive_5xx=1)
    world.respond(500, host=0)
    world.respond(500, host=1)
    world.hosts.append(Host(("10.0.0.3", 1), RAW))
    world.detector.set_hosts(world.hosts)  # the cluster then looks at all of them itself
    world.loop.advance(2.0)
    assert world.changes == 1


def test_hosts_come_and_go() -> None:
    world = World(3, consecutive_5xx=2)
    world.respond(500)
    world.respond(500, 500, host=1)
    kept, gone, new = world.hosts[0], world.hosts[1], Host(("10.0.0.2", 1), RAW)
    world.hosts = [kept, new]
    world.detector.set_hosts(world.hosts)
    assert "active" not in world.stats()
    assert gone.monitor is None
    world.respond(500)
    assert world.ejected == [0]
    world.detector.stop()
    assert "active" not in world.stats()
    assert "armed=0" in repr(world.deadlines)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from((200, 500, 503, 0, 1, 2))), max_size=60),
    st.integers(0, 100),
    st.booleans(),
)
def test_never_more_than_allowed(events: list[tuple[int, int]], percent: int, split: bool) -> None:
    world = World(4, consecutive_5xx=2, interval=1.0, base_ejection_time=1.0, max_ejection_percent=percent,
                  consecutive_local_origin_failure=2, split_external_local_origin_errors=split)  # fmt: skip
    for host, event in events:
        if event == 0:
            world.loop.advance(0.7)
        elif event == 1:
            world.monitor(host).on_failure(REFUSED)
        elif event == 2:
            world.monitor(host).on_timeout()
        else:
            world.respond(event, host=host)
        assert world.stats().get("active", 0) == len(world.ejected)
        assert len(world.ejected) * 100 <= 4 * percent


# Several workers, each with its detector.


class Contended(list[int]):
    """What workers share, where another one comes `between`: as soon as one has written, unless a lock keeps it out until it is released."""

    def __init__(self) -> None:
        super().__init__([0] * 4)
        self.between: Callable[[], object] | None = None
        self._held = False

    def __setitem__(self, at: Any, value: Any) -> None:
        super().__setitem__(at, value)
        self._let_in()

    @contextmanager
    def locked(self) -> Iterator[None]:
        assert not self._held, "a lock of the kernel is not to be entered twice"
        self._held = True
        yield
        self._held = False
        self._let_in()

    def _let_in(self) -> None:
        step, self.between = (self.between, None) if not self._held else (None, self.between)
        if step is not None:
            step()


@pytest.fixture
def numbers() -> Contended:
    return Contended()


def workers(numbers: Contended, **fields: Any) -> tuple[World, World]:
    shared = SharedFailures(numbers, numbers.locked)
    return World(1, shared=shared, **fields), World(1, shared=shared, **fields)


def enforced(*worlds: World) -> int:
    return sum(world.stats().get("enforced_total", 0) for world in worlds)


def test_nobody_steps_over_the_limit(numbers: Contended) -> None:
    one, other = workers(numbers, consecutive_5xx=2)
    one.respond(500)
    numbers.between = lambda: other.respond(500)
    one.respond(500)
    assert (one.ejected, other.ejected, one.stats()) == ([0], [], CONSECUTIVE)
    other.detector.ejected_elsewhere(other.hosts[0].name)
    assert (other.ejected, other.stats()) == ([0], {"active": 1})


def test_a_success_between_two_failures_of_another_worker_counts(numbers: Contended) -> None:
    one, other = workers(numbers, consecutive_5xx=2)
    numbers.between = lambda: other.respond(200)
    one.respond(500, 500)
    assert one.ejected == []
    other.respond(500)
    assert other.ejected == [0]


@pytest.mark.parametrize("limit", [1, 2])
def test_who_reaches_the_limit_again_before_it_is_told_ejects_without_counting(
    numbers: Contended, limit: int
) -> None:
    one, other = workers(numbers, consecutive_5xx=limit)
    one.respond(*[500] * limit)
    other.respond(*[500] * limit)
    assert (one.ejected, other.ejected) == ([0], [0])
    assert (one.stats(), other.stats()) == (CONSECUTIVE, {"active": 1})
    for told in (one, other):
        told.detector.ejected_elsewhere(told.hosts[0].name)
    assert (one.monitor().multiplier, other.monitor().multiplier) == (1, 1)


def test_of_two_that_eject_at_one_moment_one_does(numbers: Contended) -> None:
    """By different limits, the second while the first has begun to."""
    fields = {"consecutive_5xx": 2, "consecutive_gateway_failure": 3}
    one, other = workers(numbers, enforcing_consecutive_gateway_failure=100, **fields)
    other.respond(503)

    def draw() -> float:
        one.detector._draw = other.detector._draw = lambda: 0.0
        other.respond(503)  # the third of the gateway's
        return 0.0

    one.detector._draw = draw
    one.respond(503)
    assert (one.ejected, other.ejected, enforced(one, other)) == ([0], [0], 1)


def test_an_ejection_later_is_a_new_one(numbers: Contended) -> None:
    one, other = workers(numbers, consecutive_5xx=1, interval=1.0, base_ejection_time=1.0)
    one.respond(500)
    other.detector.ejected_elsewhere(other.hosts[0].name)
    for world in (one, other):
        world.loop.advance(2.0)
        assert world.ejected == []
    other.respond(500)
    assert (other.ejected, enforced(one, other)) == ([0], 2)


def test_a_worker_that_begins_knows_what_was_before(numbers: Contended) -> None:
    one, _ = workers(numbers, consecutive_5xx=1)
    one.respond(500)
    late, _ = workers(numbers, consecutive_5xx=1)
    late.respond(500)
    assert (late.ejected, enforced(late)) == ([0], 1)
