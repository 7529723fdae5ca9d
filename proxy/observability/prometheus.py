"""Prints a `StatsStore` in the Prometheus text format 0.0.4, with Envoy's names and Istio's tags.

Decides how a dotted name becomes a metric name and labels; counts nothing. Native stats get the prefix `envoy_`, Istio's
own metrics none. Only Istio's tag extractors are active. Written here rather than with the prometheus-client package:
that one costs 4.6 MB resident and builds an object per sample, for what are forty lines.
Reference: Envoy source/server/admin/prometheus_stats.cc; reference §10.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from proxy.observability.stats import Family, Histogram, StatsStore

CONTENT_TYPE = "text/plain; version=0.0.4"

Labels = tuple[tuple[str, str], ...]

# Istio's `stats_tags`, tools/packaging/common/envoy_bootstrap.json: group 1 is cut from the name, group 2 the value.
_TAGS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("cluster_name", re.compile(r"^cluster\.((.+?(?:\..+?\.svc\.cluster\.local)?);?\.)")),
    ("tcp_prefix", re.compile(r"^tcp\.((.*?);?\.)\w+?$")),
    ("response_code", re.compile(r"_rq(_(\d{3}))$")),
    ("response_code_class", re.compile(r"_rq(_(\dxx))$")),
    ("http_conn_manager_listener_prefix", re.compile(r"^listener(?=\.).*?\.http\.((.*?);?\.)")),
    (
        "http_conn_manager_prefix",
        re.compile(r"^http\.(((?:in|out)bound_\[?[0-9a-fA-F.:]+\]?_\d+|[^.;]+);?\.)"),
    ),
    ("listener_address", re.compile(r"^listener\.((\[?(?:[\d_.]+|[0-9a-fA-F:_]+)\]?(?:_\d+)?)\.)")),
    ("authz_enforce_result", re.compile(r"rbac(\.(allowed|denied))$")),
    (
        "authz_dry_run_result",
        re.compile(r"rbac(?:\.istio_dry_run_(?:allow|deny)_)?(\.?(shadow_allowed|shadow_denied))$"),
    ),
    ("component", re.compile(r"(component\.(.+?)\.)")),
)
_UNSAFE = re.compile(r"[^a-zA-Z0-9_]")

# A name's split never changes; scrapes come every few seconds for hours.
_extracted: dict[str, tuple[str, Labels]] = {}


def exposition(
    store: StatsStore, matches: Callable[[str], bool] = lambda _: True, *, used_only: bool = False
) -> str:
    """All stats whose dotted name `matches`; with `used_only`, those that were ever written."""
    lines: list[str] = []
    counters, gauges, histograms = store.plain()
    for kind, stats in (("counter", counters), ("gauge", gauges)):
        chosen = ((s.name, s.value) for s in stats if matches(s.name) and (s.value or not used_only))
        _write_native(lines, kind, chosen)
    _write_native_histograms(lines, [h for h in histograms if matches(h.name) and (h.count or not used_only)])
    for family in store.families():
        _write_family(lines, family, matches)
    return "\n".join([*lines, ""]) if lines else ""


def extract(name: str) -> tuple[str, Labels]:
    """The metric name (without `envoy_`) and the labels of a dotted stat name."""
    found = _extracted.get(name)
    if found is None:
        found = _extracted[name] = _extract(name)
    return found


def _extract(name: str) -> tuple[str, Labels]:
    rest, labels = name, []
    for tag, pattern in _TAGS:
        match = pattern.search(name)
        if match is not None and match[1] in rest:
            rest = rest.replace(match[1], "", 1)
            labels.append((tag, match[2] or match[1].rstrip(".;")))
    return _UNSAFE.sub("_", rest), tuple(labels)


def _write_native(lines: list[str], kind: str, stats: Iterable[tuple[str, int]]) -> None:
    groups: dict[str, list[str]] = {}
    for dotted, value in stats:
        name, labels = extract(dotted)
        groups.setdefault(name, []).append(f"envoy_{name}{{{_label_text(labels)}}} {value}")
    for name in sorted(groups):
        lines.append(f"# TYPE envoy_{name} {kind}")
        lines += sorted(groups[name])


def _write_native_histograms(lines: list[str], histograms: list[Histogram]) -> None:
    groups: dict[str, list[tuple[str, Histogram]]] = {}
    for histogram in histograms:
        name, labels = extract(histogram.name)
        groups.setdefault(name, []).append((_label_text(labels), histogram))
    for name in sorted(groups):
        lines.append(f"# TYPE envoy_{name} histogram")
        for text, histogram in groups[name]:
            _write_histogram(lines, f"envoy_{name}", text, histogram)


def _write_family(lines: list[str], family: Family, matches: Callable[[str], bool]) -> None:
    counters = [(v, c) for v, c in family.counters.items() if matches(c.name)]
    histograms = [(v, h) for v, h in family.histograms.items() if matches(h.name)]
    if counters or histograms:
        lines.append(f"# TYPE {family.name} {family.kind}")
    for values, counter in counters:
        lines.append(
            f"{family.name}{{{_label_text(zip(family.labels, values, strict=True))}}} {counter.value}"
        )
    for values, histogram in histograms:
        _write_histogram(lines, family.name, _label_text(zip(family.labels, values, strict=True)), histogram)


def _write_histogram(lines: list[str], name: str, labels: str, histogram: Histogram) -> None:
    separator, total = "," if labels else "", 0
    for bound, count in zip((*map(_number, histogram.bounds), "+Inf"), histogram.counts, strict=True):
        total += count
        lines.append(f'{name}_bucket{{{labels}{separator}le="{bound}"}} {total}')
    lines.append(f"{name}_sum{{{labels}}} {_number(histogram.sum)}")
    lines.append(f"{name}_count{{{labels}}} {total}")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _label_text(labels: Iterable[tuple[str, str]] | Sequence[tuple[str, str]]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
