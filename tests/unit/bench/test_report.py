"""From rounds to medians, spread, ratios and the table."""

from __future__ import annotations

from rich.console import Console

from bench.peers import PEERS
from bench.report import ratios, table, workload_document
from bench.runner import Measured
from bench.sidecars import Pair

_MEMORY = {"client": {"rss": 10_000, "pss": 8_000}, "server": {"rss": 20_000, "pss": 10_000}}


def _measured(name: str, cpus: list[float]) -> Measured:
    peer = next(peer for peer in PEERS if peer.name == name)
    rounds = [
        {"cpu_us_per_request": cpu, "requests_per_second": 1e6 / cpu, "p99_us": cpu * 10} for cpu in cpus
    ]
    return Measured(Pair(peer, 1, idle=_MEMORY), rounds, _MEMORY)


def test_medians_and_spread_and_ratio_to_each_peer() -> None:
    document = workload_document([_measured("envoy", [80, 100, 90]), _measured("glassmesh", [45, 30, 60])])
    ours = document["peers"]["glassmesh"]
    assert ours["medians"]["cpu_us_per_request"] == 45
    assert ours["spread"]["cpu_us_per_request"] == [30, 60]
    assert ours["medians"]["rss_kib"] == 15_000
    assert document["ratio_to_envoy_of"]["glassmesh"]["cpu_per_request"] == 0.5
    assert document["ratio_to_envoy_of"]["glassmesh"]["rss"] == 1.0


def test_a_figure_that_one_side_lacks_has_no_ratio() -> None:
    assert ratios({"p99_us": 2.0}, {"p50_us": 1.0}) == {}
    assert ratios({"p99_us": 2.0}, {"p99_us": 0.0}) == {}


def test_without_our_sidecar_there_is_no_ratio_but_a_table() -> None:
    document = workload_document([_measured("envoy", [80])])
    assert document["ratio_to_envoy_of"] == {}
    console = Console(width=120, record=True, file=None, quiet=True)
    console.print(table("t", document, {"envoy": "Envoy"}))


def test_the_table_names_every_peer_and_the_ratio() -> None:
    document = workload_document([_measured("envoy", [80, 90, 100]), _measured("glassmesh", [45, 45, 45])])
    console = Console(width=140)
    with console.capture() as capture:
        console.print(table("title", document, {"envoy": "Envoy", "glassmesh": "Glassmesh"}))
    text = capture.get()
    assert "Glassmesh" in text
    assert "90.0 ±11%" in text
    assert "0.50" in text
