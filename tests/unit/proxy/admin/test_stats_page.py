"""`/stats`: text, JSON, histograms with values, filters."""

from __future__ import annotations

import json

from proxy.admin.stats_page import render
from proxy.observability.stats import StatsStore


def store() -> StatsStore:
    made = StatsStore()
    made.counter("b.count").value = 2
    made.gauge("a.gauge").value = 0
    histogram = made.histogram("c.time")
    for value in (3, 3, 40, 40):
        histogram.record(value)
    made.histogram("d.time")
    return made


def lines(**query: str) -> list[str]:
    return str(render(store(), query).body).splitlines()


def test_text_is_sorted_with_histograms_last() -> None:
    assert [line.split(": ")[0] for line in lines()] == ["a.gauge", "b.count", "c.time", "d.time"]
    assert lines(filter="^b") == ["b.count: 2"]
    assert lines(filter="^b", invert_filter="")[0] == "a.gauge: 0"
    assert [line.split(": ")[0] for line in lines(usedonly="")] == ["b.count", "c.time"]
    assert lines(type="Gauges") == ["a.gauge: 0"]
    assert lines(filter="d.time") == ["d.time: No recorded values"]


def test_quantiles_and_buckets() -> None:
    (line,) = lines(filter="c.time")
    assert line.startswith("c.time: P0(nan,1) P25(nan,3) P50(nan,5) P75(nan,37.5) ")
    (line,) = lines(filter="c.time", histogram_buckets="cumulative")
    assert "B1(0,0) B5(0,2) B10(0,2) B25(0,2) B50(0,4) " in line
    (line,) = lines(filter="c.time", histogram_buckets="disjoint")
    assert "B5(0,2) B10(0,0) B25(0,0) B50(0,2) " in line


def test_json() -> None:
    stats = json.loads(render(store(), {"format": "json"}).body)["stats"]
    assert stats[0] == {"name": "a.gauge", "value": 0}
    (histograms,) = [s["histograms"] for s in stats if "histograms" in s]
    by_name = {h["name"]: h["values"] for h in histograms["computed_quantiles"]}
    assert by_name["c.time"][2] == {"cumulative": 5, "interval": None}
    assert by_name["d.time"][0] == {"cumulative": None, "interval": None}
