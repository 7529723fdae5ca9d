"""Admin `/stats` and `/stats/prometheus`: every registered stat as text, JSON or Prometheus text.

Pure: a store and the query in, a response out. Histograms print their quantiles over all time; Envoy's `interval` half is
`nan`, as it prints when nothing was recorded in the last interval.
Reference: Envoy "Administration interface", `/stats`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from proxy.admin.http_server import JSON, Response
from proxy.admin.regex import RegexError, compile_regex
from proxy.observability import prometheus
from proxy.observability.stats import Histogram, StatsStore

_QUANTILES = (0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)
_TYPES = ("All", "Counters", "Histograms", "Gauges", "TextReadouts")
_FORMATS = ("html", "active-html", "json", "prometheus", "text")


def render(store: StatsStore, query: Mapping[str, str]) -> Response:
    """Answer `/stats` with its query parameters."""
    kind = query.get("type", "All")
    if kind not in _TYPES:
        return Response("invalid &type= param", 400)
    form = query.get("format", "text")
    if form not in _FORMATS:
        return Response("usage: /stats?format=(html|active-html|json|prometheus|text)\n\n", 400)
    try:
        matches = _filter(query)
    except RegexError as error:
        return Response(f"Invalid re2 regex: {error}", 400)
    used_only = "usedonly" in query
    if form == "prometheus":
        text = prometheus.exposition(store, matches, used_only=used_only)
        return Response(text, content_type=prometheus.CONTENT_TYPE)
    values, histograms = _select(store, kind, matches, used_only)
    if form == "json":
        return Response(_as_json(values, histograms), content_type=JSON)
    lines = [f"{name}: {value}" for name, value in values]
    cumulative = query.get("histogram_buckets") in ("cumulative", "disjoint", "detailed")
    lines += [f"{h.name}: {_buckets(h, query) if cumulative else _quantiles(h)}" for h in histograms]
    return Response("".join(line + "\n" for line in lines))


def render_prometheus(store: StatsStore, query: Mapping[str, str]) -> Response:
    """Answer `/stats/prometheus`."""
    return render(store, {**query, "format": "prometheus"})


def _filter(query: Mapping[str, str]) -> Callable[[str], bool]:
    if not query.get("filter"):
        return lambda _: True
    search = compile_regex(query["filter"]).search
    if "invert_filter" in query:
        return lambda name: search(name) is None
    return lambda name: search(name) is not None


def _select(
    store: StatsStore, kind: str, matches: Callable[[str], bool], used_only: bool
) -> tuple[list[tuple[str, int]], list[Histogram]]:
    values: list[tuple[str, int]] = []
    if kind in ("All", "Counters"):
        values += ((c.name, c.value) for c in store.counters())
    if kind in ("All", "Gauges"):
        values += ((g.name, g.value) for g in store.gauges())
    histograms = store.histograms() if kind in ("All", "Histograms") else ()
    return (
        sorted((n, v) for n, v in values if matches(n) and (v or not used_only)),
        sorted((h for h in histograms if matches(h.name) and (h.count or not used_only)), key=_name),
    )


def _name(histogram: Histogram) -> str:
    return histogram.name


def _as_json(values: list[tuple[str, int]], histograms: list[Histogram]) -> str:
    stats: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in values]
    if histograms:
        computed = [{"name": h.name, "values": [_computed(h, q) for q in _QUANTILES]} for h in histograms]
        stats.append({"histograms": {"supported_quantiles": _QUANTILES, "computed_quantiles": computed}})
    return json.dumps({"stats": stats})


def _computed(histogram: Histogram, percent: float) -> dict[str, float | None]:
    value = round(histogram.quantile(percent / 100), 3) if histogram.count else None
    return {"cumulative": value, "interval": None}


def _quantiles(histogram: Histogram) -> str:
    if not histogram.count:
        return "No recorded values"
    return " ".join(f"P{q:g}(nan,{histogram.quantile(q / 100):g})" for q in _QUANTILES)


def _buckets(histogram: Histogram, query: Mapping[str, str]) -> str:
    parts, total = [], 0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        total += count
        shown = count if query["histogram_buckets"] == "disjoint" else total
        parts.append(f"B{bound:g}(0,{shown})")
    return " ".join(parts)
