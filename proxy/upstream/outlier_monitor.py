"""Outlier detection's record of one host: failures in a row, shares of success, and how often it was ejected.

Counts and compares; what follows from a threshold reached is the detector's. Invariant: a counter that reached its threshold is
reported once, and starts again only when the detector resets it. Reference: Envoy source/common/upstream/outlier_detection_impl.cc
(DetectorHostMonitorImpl).
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, NamedTuple

from proxy.upstream.failure import ResetReason
from proxy.upstream.success_rate import UNKNOWN, Window

if TYPE_CHECKING:
    from proxy.config.outlier_detection import OutlierDetection
    from proxy.upstream.host import Host

CONSECUTIVE_5XX = "consecutive_5xx"
GATEWAY_FAILURE = "consecutive_gateway_failure"
LOCAL_ORIGIN_FAILURE = "consecutive_local_origin_failure"
_GATEWAY_ERRORS = (502, 503, 504)

# Told of a host that has reached the threshold of a kind of failure.
Report = Callable[["OutlierMonitor", str], None]


class OutlierMonitor:
    """See `proxy.upstream.host.HostMonitor`. `error_statuses` None: 5xx are the errors."""

    __slots__ = (
        "_config",
        "_errors",
        "_report",
        "_split",
        "consecutive_5xx",
        "ejected_at",
        "external",
        "gateway_failures",
        "host",
        "jitter",
        "local",
        "local_failures",
        "local_rate",
        "multiplier",
        "rate",
    )

    def __init__(
        self, host: Host, config: OutlierDetection, report: Report, error_statuses: frozenset[int] | None
    ) -> None:
        self.host = host
        self._config = config
        self._split = config.split_external_local_origin_errors
        self._errors = error_statuses
        self._report = report
        self.external, self.local = Window(), Window()
        self.rate = self.local_rate = UNKNOWN  # percent, of the last interval with enough requests
        self.multiplier = 0  # how many times the base ejection time the next ejection takes, less one
        self.ejected_at = 0.0
        self.jitter = 0.0
        self.consecutive_5xx = self.gateway_failures = self.local_failures = 0

    # What the data path reports.

    def on_connected(self) -> None:
        """A request got its connection."""
        if self._split:
            self.local.total += 1
            self.local.good += 1
            self.local_failures = 0

    def on_tcp_connected(self) -> None:
        """An opaque connection is made, which is all the success there will be."""
        if self._split:
            self.on_connected()
        else:
            self._on_status(200)

    def on_response(self, status: int) -> None:
        if self._errors is not None:
            # A matched response is an error whatever its code; one that is not is a success, a 503 included.
            matched = status in self._errors
            status = (status if status >= 500 else 500) if matched else 200
        self._on_status(status)

    def on_failure(self, reason: ResetReason) -> None:
        if reason is ResetReason.OVERFLOW:
            return  # the cluster's limits, not the host's fault
        if self._split:
            self._on_local_failure()
        else:
            self._on_status(503)

    def on_timeout(self) -> None:
        if self._split:
            self._on_local_failure()
        else:
            self._on_status(504)

    def _on_status(self, status: int) -> None:
        window = self.external
        window.total += 1
        if status < 500:
            window.good += 1
            self.consecutive_5xx = self.gateway_failures = 0
            return
        config = self._config
        if status in _GATEWAY_ERRORS:
            if self._one_more(GATEWAY_FAILURE) == config.consecutive_gateway_failure:
                self._report(self, GATEWAY_FAILURE)
        else:
            self.gateway_failures = 0
        if self._one_more(CONSECUTIVE_5XX) == config.consecutive_5xx:
            self._report(self, CONSECUTIVE_5XX)

    def _on_local_failure(self) -> None:
        self.local.total += 1
        if self._one_more(LOCAL_ORIGIN_FAILURE) == self._config.consecutive_local_origin_failure:
            self._report(self, LOCAL_ORIGIN_FAILURE)

    def _one_more(self, kind: str) -> int:
        """Counts a failure; how many there are in a row with it."""
        if kind == CONSECUTIVE_5XX:
            self.consecutive_5xx += 1
            return self.consecutive_5xx
        if kind == GATEWAY_FAILURE:
            self.gateway_failures += 1
            return self.gateway_failures
        self.local_failures += 1
        return self.local_failures

    # What the detector does.

    def reset(self, kind: str | None = None) -> None:
        """Start counting a kind of failure in a row anew; None: every kind."""
        if kind in (CONSECUTIVE_5XX, None):
            self.consecutive_5xx = 0
        if kind in (GATEWAY_FAILURE, None):
            self.gateway_failures = 0
        if kind in (LOCAL_ORIGIN_FAILURE, None):
            self.local_failures = 0

    def missed_ejection(self) -> bool:
        """Whether another worker has ejected the host, and this one has not heard of it."""
        return False

    def claim_ejection(self) -> bool:
        """To be asked before the host is ejected for what was seen here; False: another worker was faster."""
        return True

    def heard_of_ejection(self) -> None:
        """What others ejected so far is known here."""

    def roll(self) -> None:
        """An interval is over; the rates shown are those of the new judgement."""
        self.external.roll()
        self.local.roll()
        self.rate = self.local_rate = UNKNOWN

    def __repr__(self) -> str:
        return (
            f"<OutlierMonitor {self.host.name} 5xx={self.consecutive_5xx} gateway={self.gateway_failures}"
            f" local={self.local_failures} multiplier={self.multiplier}>"
        )


Numbers = MutableSequence[int]
_KINDS = (CONSECUTIVE_5XX, GATEWAY_FAILURE, LOCAL_ORIGIN_FAILURE)


class SharedFailures(NamedTuple):
    """What all workers of a sidecar know of a host.

    `numbers`: failures in a row of three kinds, and how often any worker has ejected it. `locked` keeps the others from
    changing them; it is not to be entered twice.
    """

    numbers: Numbers
    locked: Callable[[], AbstractContextManager[None]]


class SharedOutlierMonitor(OutlierMonitor):
    """The record of a host whose failures in a row are counted by all workers.

    Where Envoy has atomics, numbers change under a lock: exactly one worker sees a count reach its threshold. A success, which
    has nothing to change as a rule, only looks. An ejection is claimed by number, since a worker may reach a
    threshold before it is told that another one ejected the host. Properties stand where its base has attributes: mypyc would
    not see that, so this module is not to be compiled.
    """

    __slots__ = ("_ejections", "_locked", "_numbers")

    def __init__(
        self,
        host: Host,
        config: OutlierDetection,
        report: Report,
        error_statuses: frozenset[int] | None,
        shared: SharedFailures,
    ) -> None:
        self._numbers, self._locked = shared
        self._ejections = self._numbers[3]  # those this worker knows of
        super().__init__(host, config, report, error_statuses)

    def _one_more(self, kind: str) -> int:
        at = _KINDS.index(kind)
        with self._locked():
            number = self._numbers[at] + 1
            self._numbers[at] = number
        return number

    def _set(self, at: int, value: int) -> None:
        if self._numbers[at] != value:
            with self._locked():
                self._numbers[at] = value

    def missed_ejection(self) -> bool:
        return self._numbers[3] != self._ejections

    def claim_ejection(self) -> bool:
        with self._locked():
            if self.missed_ejection():
                return False
            self._ejections += 1
            self._numbers[3] = self._ejections
            return True

    def heard_of_ejection(self) -> None:
        self._ejections = self._numbers[3]

    @property
    def consecutive_5xx(self) -> int:
        return self._numbers[0]

    @consecutive_5xx.setter
    def consecutive_5xx(self, value: int) -> None:
        self._set(0, value)

    @property
    def gateway_failures(self) -> int:
        return self._numbers[1]

    @gateway_failures.setter
    def gateway_failures(self, value: int) -> None:
        self._set(1, value)

    @property
    def local_failures(self) -> int:
        return self._numbers[2]

    @local_failures.setter
    def local_failures(self, value: int) -> None:
        self._set(2, value)
