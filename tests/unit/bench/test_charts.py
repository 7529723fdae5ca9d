"""Charts and Markdown of a document: what was measured is shown, what was not is left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench import markdown
from bench.charts import CHARTS, cost, draw
from bench.figures import Measured
from bench.goals import judged
from bench.peers import PEERS
from bench.report import workload_document
from bench.workloads import WORKLOADS

_MEMORY = {"client": {"rss": 10_000, "pss": 8_000}, "server": {"rss": 20_000, "pss": 10_000}}
_COST = {"envoy": 100.0, "glassmesh": 80.0}


def _rounds(name: str) -> list[dict[str, float]]:
    value = _COST.get(name, 50.0)
    figures = ("cpu_us_per_request", "p50_us", "p90_us", "p99_us", "rss_kib", "vcpu", "kib_per_connection")
    rates = ("requests_per_second", "requests_per_cpu_second", "bytes_per_second")
    if name == "direct":
        return [{"p50_us": 10.0, "p90_us": 10.0, "p99_us": 10.0, "requests_per_second": 1e4}] * 2
    return [
        {
            **dict.fromkeys(figures, value * n),
            **dict.fromkeys(rates, 1e6 / value),
            "kernel_us_per_request": 20.0,
        }
        for n in (1, 1.1)
    ]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    peers = {peer.name: peer for peer in PEERS}
    workloads = {}
    for one in WORKLOADS:
        memory = {name: {} if name == "direct" else _MEMORY for name in one.peers}
        measured = [Measured(peers[name], memory[name], _rounds(name)) for name in one.peers]
        if one.section in ("bodies", "opaque TCP"):
            for each in measured:
                for figures in each.rounds:
                    figures["bytes_per_cpu_second"] = 1e9 / _COST[each.peer.name]
        workloads[one.name] = workload_document(one, measured)
    found: dict[str, Any] = {
        "workloads": workloads,
        "scale": None,
        "when": "2026-11-21T20:00:00+00:00",
        "seconds": 600,
        "effort": {"rounds": 2},
        "machine": {"cpus": 2, "cpu": "a CPU", "kernel": "6.1", "load_1min_before": "0.10"},
        "versions": {"direct": "", "envoy": "1.40.0"},
    }
    return {**found, "goals": judged(found)}


def test_every_chart_is_drawn_twice_and_small(document: dict[str, Any], tmp_path: Path) -> None:
    written = draw(document, tmp_path / "charts")
    assert {file.suffix for file in written} == {".png", ".svg"}
    assert {file.stem for file in written} == set(CHARTS) - {"scale"}  # which was not measured
    assert len(written) == 2 * (len(CHARTS) - 1)
    assert all(0 < file.stat().st_size < 180_000 for file in written)


def test_a_chart_without_figures_is_not_drawn(tmp_path: Path) -> None:
    assert draw({"workloads": {}}, tmp_path) == []


def test_less_cpu_for_the_same_work_is_less_whatever_the_unit(document: dict[str, Any]) -> None:
    assert cost(document, "saturation_16") == 0.8
    assert cost(document, "bodies_10m_up") == pytest.approx(0.8)


def test_markdown_has_a_table_for_each_section_and_a_column_for_each_peer(document: dict[str, Any]) -> None:
    text = "\n".join(markdown.whole(document))
    assert all(f"### {one.section}" in text for one in WORKLOADS)
    assert "| CPU per request and sidecar, 1 KiB GET | ≤ 0.8 | 0.80 | met |" in text
    assert "| resident memory with 1,000 services × 10 endpoints | ≤ 1 | – | not measured |" in text
    header = next(line for line in text.splitlines() if "mitmproxy" in line and "Envoy" in line)
    assert header.count("|") == text.splitlines()[text.splitlines().index(header) + 1].count("|")


def test_a_page_is_filled_where_it_says_so_and_nowhere_else(document: dict[str, Any]) -> None:
    page = "a\n<!-- figures: goals -->\nold\n<!-- end -->\nb\n<!-- figures: scale -->\nkept\n<!-- end -->\n<!-- figures: nonsense -->\n<!-- end -->\n"
    text = markdown.filled(page, document)
    assert text.startswith("a\n<!-- figures: goals -->\n| figure |")
    assert "old" not in text
    assert (
        "<!-- end -->\nb\n<!-- figures: scale -->\nkept\n<!-- end -->\n<!-- figures: nonsense -->\n<!-- end -->\n"
        in text
    )
    assert markdown.filled(text, document) == text
    assert "Envoy 1.40.0." in markdown.filled("<!-- figures: source -->\n<!-- end -->", document)


def test_every_place_of_the_page_has_its_figures(document: dict[str, Any]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "performance.md").read_text()
    named = re.findall(r"<!-- figures: (.*?) -->", page)
    assert set(named) <= set(markdown.parts(document))
    assert page.count("<!-- end -->") == len(named)
