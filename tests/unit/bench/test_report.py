"""The document and the tables: medians, ratios, every peer by its title, the same in a pipe."""

from __future__ import annotations

from rich.console import Console

from bench.figures import Measured
from bench.peers import PEERS
from bench.report import by_workload, headline, tables, workload_document
from bench.workloads.http import ISTIO, SATURATION

_MEMORY = {"client": {"rss": 10_000, "pss": 8_000}, "server": {"rss": 20_000, "pss": 10_000}}
TITLES = {peer.name: peer.title for peer in PEERS}


def _measured(name: str, cpus: list[float]) -> Measured:
    peer = next(peer for peer in PEERS if peer.name == name)
    rounds = [
        {
            "cpu_us_per_request": cpu,
            "requests_per_second": 1e6 / cpu,
            "p99_us": cpu * 10,
            "rss_kib": 1024 * cpu,
        }
        for cpu in cpus
    ]
    return Measured(peer, _MEMORY, rounds)


def _text(width: int, **measured: list[float]) -> str:
    document = workload_document(SATURATION, [_measured(name, cpus) for name, cpus in measured.items()])
    console = Console(width=width)
    with console.capture() as capture:
        for table in tables([SATURATION], {SATURATION.name: document}, TITLES):
            console.print(table)
    return capture.get()


def test_medians_and_spread_and_ratio_to_envoy() -> None:
    document = workload_document(
        SATURATION, [_measured("envoy", [80, 100, 90]), _measured("glassmesh", [45, 30, 60])]
    )
    ours = document["peers"]["glassmesh"]
    assert ours["medians"]["cpu_us_per_request"] == 45
    assert ours["spread"]["cpu_us_per_request"] == [30, 60]
    assert document["ratio_to_envoy"]["glassmesh"]["cpu_us_per_request"] == 0.5
    assert document["ratio_to_envoy"]["glassmesh"]["rss_idle_kib"] == 1.0


def test_the_headline_keeps_its_names_and_leaves_out_what_was_not_measured() -> None:
    measured = [_measured("envoy", [80]), _measured("glassmesh", [40])]
    documents = {SATURATION.name: workload_document(SATURATION, measured)}
    found = headline(documents, "glassmesh")
    assert found["cpu_per_request"] == 0.5
    assert found["requests_per_second"] == 2.0
    assert {"p99", "rss", "rss_idle"} <= set(found)
    assert "p99_at_rate" not in found
    assert headline(documents, "glassmesh_telemetry") == {}
    documents[ISTIO.name] = workload_document(ISTIO, measured)
    assert headline(documents, "glassmesh")["p99_at_rate"] == 0.5
    assert by_workload(documents)["istio"]["p99_us"] == 0.5


def test_without_envoy_there_is_no_ratio_but_a_table() -> None:
    document = workload_document(SATURATION, [_measured("glassmesh", [80])])
    assert document["ratio_to_envoy"] == {}
    assert "12,500" in _text(120, glassmesh=[80])


def test_the_table_names_every_peer_and_the_ratio_and_nothing_is_cut() -> None:
    names = ["direct", "envoy", "glassmesh", "glassmesh_telemetry", "haproxy", "nginx"]
    text = _text(150, **{name: [80, 90, 100] for name in names})
    assert all(TITLES[name] in text for name in names)
    assert "90.0 ±11%" in text
    assert "1.00" in text
    assert "…" not in text
