"""The control plane's own metrics, with Istio's names, as Prometheus text.

Written out rather than through a client library: Istio's counters do not end in `_total`, which the library insists on.
"""

from __future__ import annotations

from collections.abc import Iterator

_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 3.0, 5.0, 10.0)  # seconds
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counters, gauges and one kind of histogram, by name and labels."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}
        self._values: dict[str, dict[Labels, float]] = {}
        self._histograms: dict[str, list[float]] = {}

    def count(self, name: str, **labels: str) -> None:
        self._types[name] = "counter"
        series = self._values.setdefault(name, {})
        key = tuple(sorted(labels.items()))
        series[key] = series.get(key, 0) + 1

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self._types[name] = "gauge"
        self._values.setdefault(name, {})[tuple(sorted(labels.items()))] = value

    def observe(self, name: str, seconds: float) -> None:
        self._types[name] = "histogram"
        counts = self._histograms.setdefault(name, [0.0] * (len(_BUCKETS) + 2))
        for index, bound in enumerate(_BUCKETS):
            counts[index] += seconds <= bound
        counts[-2] += 1
        counts[-1] += seconds

    def text(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for name in sorted(self._types):
            yield f"# TYPE {name} {self._types[name]}"
            for labels, value in sorted(self._values.get(name, {}).items()):
                yield f"{name}{_braces(labels)} {value:g}"
            if name in self._histograms:
                yield from self._histogram(name)

    def _histogram(self, name: str) -> Iterator[str]:
        counts = self._histograms[name]
        for bound, value in zip(_BUCKETS, counts, strict=False):
            yield f'{name}_bucket{{le="{bound:g}"}} {value:g}'
        yield f'{name}_bucket{{le="+Inf"}} {counts[-2]:g}'
        yield f"{name}_count {counts[-2]:g}"
        yield f"{name}_sum {counts[-1]:g}"


def _braces(labels: Labels) -> str:
    return "{" + ",".join(f'{key}="{value}"' for key, value in labels) + "}" if labels else ""
