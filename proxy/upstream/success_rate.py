"""How a host's share of good answers compares with its cluster's: the statistics of outlier detection.

Pure arithmetic over one interval's counts; ejects nobody. Rates are percent, as Envoy's pages show them.
Reference: Envoy source/common/upstream/outlier_detection_impl.cc (SuccessRateAccumulator, successRateEjectionThreshold).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

UNKNOWN = -1.0  # what the pages show for a rate that is not known


class Window:
    """Requests of the interval that runs, and of the one before it, which is the one judged."""

    __slots__ = ("_last_good", "_last_total", "good", "total")

    def __init__(self) -> None:
        self.good = self.total = 0
        self._last_good = self._last_total = 0

    def roll(self) -> None:
        """An interval is over."""
        self._last_good, self._last_total = self.good, self.total
        self.good = self.total = 0

    @property
    def volume(self) -> int:
        """Requests of the last whole interval."""
        return self._last_total

    @property
    def rate(self) -> float:
        """Success rate of the last whole interval, percent; UNKNOWN without requests."""
        return self._last_good * 100.0 / self._last_total if self._last_total else UNKNOWN


@dataclass(frozen=True, slots=True)
class Threshold:
    """A cluster's mean success rate, and the rate below which a host is an outlier."""

    average: float = UNKNOWN
    ejection: float = UNKNOWN


NO_THRESHOLD = Threshold()


def threshold(rates: Sequence[float], stdev_factor: float) -> Threshold:
    """Mean less so many standard deviations; `rates` holds at least one."""
    mean = sum(rates) / len(rates)
    deviation = sqrt(sum((rate - mean) ** 2 for rate in rates) / len(rates))
    return Threshold(mean, mean - stdev_factor * deviation)
