"""Outlier detection of one cluster: ejects hosts that fail, and lets them back in.

Hosts are ejected at once when failures in a row reach a threshold, and at the end of each interval for their share of
failures; they return at the end of the interval in which their time is up. Knows no requests: monitors report. Time and
randomness are arguments. Invariant: `ejections_active` is the number of ejected hosts of the cluster.
Reference: Envoy source/common/upstream/outlier_detection_impl.cc; reference §6.4. Of two judgements that hit one host at the end
of one interval only the first ejects it; Envoy 1.40 counts that host twice in `ejections_active`, and for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from proxy.config.outlier_detection import OutlierDetection
from proxy.deadlines import Deadline, Deadlines
from proxy.observability.stats import Counter, StatsStore
from proxy.upstream.host import Host
from proxy.upstream.lb.interface import Draw
from proxy.upstream.merged_updates import DEFAULT_WINDOW, MergedUpdates
from proxy.upstream.outlier_monitor import (
    CONSECUTIVE_5XX,
    GATEWAY_FAILURE,
    LOCAL_ORIGIN_FAILURE,
    OutlierMonitor,
    SharedFailures,
    SharedOutlierMonitor,
)
from proxy.upstream.success_rate import NO_THRESHOLD, Threshold, threshold

SUCCESS_RATE = "success_rate"
LOCAL_SUCCESS_RATE = "local_origin_success_rate"
FAILURE_PERCENTAGE = "failure_percentage"
LOCAL_FAILURE_PERCENTAGE = "local_origin_failure_percentage"


def _enforcing(config: OutlierDetection) -> dict[str, int]:
    """Percent of the detections of each kind that are acted on."""
    return {
        CONSECUTIVE_5XX: config.enforcing_consecutive_5xx,
        GATEWAY_FAILURE: config.enforcing_consecutive_gateway_failure,
        LOCAL_ORIGIN_FAILURE: config.enforcing_consecutive_local_origin_failure,
        SUCCESS_RATE: config.enforcing_success_rate,
        LOCAL_SUCCESS_RATE: config.enforcing_local_origin_success_rate,
        FAILURE_PERCENTAGE: config.enforcing_failure_percentage,
        LOCAL_FAILURE_PERCENTAGE: config.enforcing_failure_percentage_local_origin,
    }


class OutlierStats:
    """`cluster.NAME.outlier_detection.…`; those in `deprecated` are counted on detection, by their old names."""

    def __init__(self, store: StatsStore, name: str) -> None:
        prefix = f"cluster.{name}.outlier_detection.ejections_"
        kinds = tuple(_enforcing(OutlierDetection()))
        self.active = store.gauge(prefix + "active")
        self.overflow = store.counter(prefix + "overflow")
        self.total = store.counter(prefix + "total")
        self.enforced_total = store.counter(prefix + "enforced_total")
        self.detected: dict[str, Counter] = {
            kind: store.counter(f"{prefix}detected_{kind}") for kind in kinds
        }
        self.enforced: dict[str, Counter] = {
            kind: store.counter(f"{prefix}enforced_{kind}") for kind in kinds
        }
        self.deprecated: dict[str, Counter] = {
            kind: store.counter(prefix + kind) for kind in (CONSECUTIVE_5XX, SUCCESS_RATE)
        }


class OutlierDetector:
    """`changed` is called after hosts became available or unavailable, as MergedUpdates says. `error_statuses`: see OutlierMonitor.

    `on_ejected` is told of each host that is ejected here. `shared` has what all workers count at a host, by its name. `average` and `local_average` are the judgement of the last interval, for the admin page. Intervals begin with the first
    `set_hosts` and end with `stop`.
    """

    def __init__(
        self,
        config: OutlierDetection,
        stats: OutlierStats,
        *,
        deadlines: Deadlines,
        draw: Draw,
        changed: Callable[[], None],
        merge_window: float = DEFAULT_WINDOW,
        error_statuses: frozenset[int] | None = None,
        on_ejected: Callable[[Host], None] | None = None,
        shared: Callable[[str], SharedFailures | None] | None = None,
    ) -> None:
        self._shared = shared
        self._on_ejected = on_ejected
        self.config = config
        self._stats = stats
        self._deadlines = deadlines
        self._now = deadlines.now
        self._draw = draw
        self._updates = MergedUpdates(deadlines, merge_window, changed)
        self._errors = error_statuses
        self._enforcing = _enforcing(config)
        self._monitors: dict[Host, OutlierMonitor] = {}
        self._ejected = 0
        self._next_sweep: Deadline | None = None
        self._sweep_at = 0.0
        self.average = self.local_average = NO_THRESHOLD

    def set_hosts(self, hosts: Iterable[Host]) -> None:
        """The hosts of the cluster from now on; those that stay keep their record."""
        before, self._monitors = self._monitors, {}
        changed: set[int] = set()  # priorities
        for host in hosts:
            monitor = before.pop(host, None)
            if monitor is None:
                changed.add(host.priority)
                monitor = self._monitor(host)
                host.monitor = monitor
            self._monitors[host] = monitor
        for gone in before:
            changed.add(gone.priority)
            gone.monitor = None
            if gone.ejected:
                self._count_ejected(-1)
        if self._next_sweep is None:
            self._sweep_at = self._now() + self.config.interval
            self._next_sweep = self._deadlines.arm(self._sweep_at, self._end_interval)
        else:
            for priority in changed:
                self._updates.applied(priority)

    def _monitor(self, host: Host) -> OutlierMonitor:
        shared = self._shared(host.name) if self._shared is not None else None
        report = self._on_failures_in_a_row
        if shared is None:
            return OutlierMonitor(host, self.config, report, self._errors)
        return SharedOutlierMonitor(host, self.config, report, self._errors, shared)

    def stop(self) -> None:
        """The cluster is gone: nobody is ejected any more, and nothing is counted."""
        self.set_hosts(())
        self._updates.stop()
        if self._next_sweep is not None:
            self._deadlines.disarm(self._next_sweep)

    def _count_ejected(self, change: int) -> None:
        # The gauge may be shared with the cluster that this one replaces.
        self._ejected += change
        self._stats.active.value += change

    # Ejection.

    def _on_failures_in_a_row(self, monitor: OutlierMonitor, kind: str) -> None:
        if monitor.host.ejected or monitor.host not in self._monitors:
            return
        if monitor.missed_ejection():
            self._eject_too(monitor)  # as Envoy, which counts a detection once
            return
        if kind == CONSECUTIVE_5XX:
            self._stats.deprecated[kind].value += 1
        self._detected(monitor, kind)
        monitor.reset(kind)

    def _detected(self, monitor: OutlierMonitor, kind: str) -> None:
        """Eject the host as far as limits and enforcement allow."""
        stats, config = self._stats, self.config
        stats.detected[kind].value += 1
        share = 100.0 * (self._ejected + 1) / len(self._monitors)
        if share > config.max_ejection_percent and not (config.always_eject_one_host and self._ejected == 0):
            stats.overflow.value += 1
            return
        if kind in stats.deprecated:
            stats.total.value += 1
        if self._draw() * 100 >= self._enforcing[kind]:
            return
        if not monitor.claim_ejection():
            self._eject_too(monitor)
            return
        self._count_ejected(1)
        stats.enforced_total.value += 1
        stats.enforced[kind].value += 1
        self._eject(monitor)
        if self._on_ejected is not None:
            self._on_ejected(monitor.host)

    def ejected_elsewhere(self, name: str) -> None:
        """Another worker of this sidecar ejected the host of this name, and counted that: so do we, for the same time."""
        for host, monitor in self._monitors.items():
            if host.name == name:
                self._eject_too(monitor)

    def _eject_too(self, monitor: OutlierMonitor) -> None:
        monitor.heard_of_ejection()
        if not monitor.host.ejected:
            self._count_ejected(1)
            self._eject(monitor)

    def _eject(self, monitor: OutlierMonitor) -> None:
        config = self.config
        base = float(config.base_ejection_time)
        monitor.host.ejected = True
        monitor.host.drain_connections()
        monitor.ejected_at = self._now()
        monitor.jitter = self._draw() * config.max_ejection_time_jitter
        if monitor.multiplier * base < config.longest_ejection + base:
            monitor.multiplier += 1
        self._updates.changed(monitor.host.priority)

    # The end of an interval.

    def _end_interval(self) -> None:
        # From when it was due, so that the timer's lateness does not add up.
        self._sweep_at = max(self._sweep_at, self._now() - self.config.interval) + self.config.interval
        self._next_sweep = self._deadlines.arm(self._sweep_at, self._end_interval)
        self.sweep()

    def sweep(self) -> None:
        """Let back in whose time is up, and judge the interval that ends."""
        now = self._now()
        for monitor in self._monitors.values():
            if not monitor.host.ejected:
                monitor.multiplier = max(0, monitor.multiplier - 1)
            elif self._due(monitor, now):
                monitor.host.ejected = False
                monitor.reset()
                self._count_ejected(-1)
                self._updates.changed(monitor.host.priority)
            monitor.roll()
        self._judge(local=False)
        self._judge(local=True)

    def _due(self, monitor: OutlierMonitor, now: float) -> bool:
        config = self.config
        length = min(config.base_ejection_time * monitor.multiplier, config.longest_ejection)
        return now - monitor.ejected_at >= length + monitor.jitter

    def _judge(self, *, local: bool) -> None:
        """Eject by success rate, then by failure percentage."""
        config = self.config
        by_rate, by_percentage = [], []
        lowest = min(config.success_rate_request_volume, config.failure_percentage_request_volume)
        for monitor in self._monitors.values():
            window = monitor.local if local else monitor.external
            volume = window.volume
            if monitor.host.ejected or not volume or volume < lowest:
                continue
            if local:
                monitor.local_rate = window.rate
            else:
                monitor.rate = window.rate
            if volume >= config.success_rate_request_volume:
                by_rate.append((monitor, window.rate))
            if volume >= config.failure_percentage_request_volume:
                by_percentage.append((monitor, window.rate))
        self._judge_rates(by_rate, local=local)
        self._judge_percentages(by_percentage, local=local)

    def _judge_rates(self, rates: list[tuple[OutlierMonitor, float]], *, local: bool) -> None:
        config = self.config
        limits: Threshold = NO_THRESHOLD
        if rates and len(rates) >= config.success_rate_minimum_hosts:
            limits = threshold([rate for _, rate in rates], config.success_rate_stdev_factor / 1000.0)
        if local:
            self.local_average = limits
        else:
            self.average = limits
        kind = LOCAL_SUCCESS_RATE if local else SUCCESS_RATE
        for monitor, rate in rates:
            if limits is not NO_THRESHOLD and rate < limits.ejection:
                self._stats.deprecated[SUCCESS_RATE].value += 1
                self._detected(monitor, kind)

    def _judge_percentages(self, rates: list[tuple[OutlierMonitor, float]], *, local: bool) -> None:
        config = self.config
        if not rates or len(rates) < config.failure_percentage_minimum_hosts:
            return
        kind = LOCAL_FAILURE_PERCENTAGE if local else FAILURE_PERCENTAGE
        for monitor, rate in rates:
            if 100.0 - rate >= config.failure_percentage_threshold and not monitor.host.ejected:
                self._detected(monitor, kind)

    def __repr__(self) -> str:
        return f"<OutlierDetector {self._ejected} of {len(self._monitors)} ejected>"
