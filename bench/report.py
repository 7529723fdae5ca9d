"""From rounds to medians, spread and ratios, and from those to the table and the JSON file. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from bench.runner import Measured

# Name in `ratio_to_envoy` → name in the medians. Below 1 is better than Envoy, but for requests_per_second.
RATIOS = {
    "cpu_per_request": "cpu_us_per_request",
    "requests_per_second": "requests_per_second",
    "p50": "p50_us",
    "p99": "p99_us",
    "p50_at_rate": "rate_p50_us",
    "p99_at_rate": "rate_p99_us",
    "rss": "rss_kib",
    "pss": "pss_kib",
    "rss_idle": "rss_idle_kib",
}
# Median name, its row, the factor to that unit, and the format.
ROWS: list[tuple[str, str, float, str]] = [
    ("requests_per_second", "requests/s", 1, ",.0f"),
    ("p50_us", "p50, ms", 1e-3, ".2f"),
    ("p99_us", "p99, ms", 1e-3, ".2f"),
    ("cpu_us_per_request", "CPU/request, µs", 1, ".1f"),
    ("cpu_us_per_request_client", "  client, µs", 1, ".1f"),
    ("cpu_us_per_request_server", "  server, µs", 1, ".1f"),
    ("rate_p50_us", "p50 at rate, ms", 1e-3, ".2f"),
    ("rate_p99_us", "p99 at rate, ms", 1e-3, ".2f"),
    ("rss_idle_kib", "RSS idle, MiB", 1 / 1024, ".1f"),
    ("rss_kib", "RSS after, MiB", 1 / 1024, ".1f"),
    ("pss_kib", "PSS after, MiB", 1 / 1024, ".1f"),
]


def medians(measured: Measured) -> dict[str, float]:
    """The median of each figure over the rounds, and the mean memory of the two sidecars in KiB."""
    found = {
        key: statistics.median(figures[key] for figures in measured.rounds) for key in measured.rounds[0]
    }
    if measured.after:
        found["rss_kib"] = statistics.mean(memory["rss"] for memory in measured.after.values())
        found["pss_kib"] = statistics.mean(memory["pss"] for memory in measured.after.values())
        found["rss_idle_kib"] = statistics.mean(memory["rss"] for memory in measured.pair.idle.values())
        found["start_s"] = measured.pair.start_s
    return found


def spread(measured: Measured) -> dict[str, list[float]]:
    """Lowest and highest of each figure over the rounds."""
    keys = measured.rounds[0]
    return {key: [min(f[key] for f in measured.rounds), max(f[key] for f in measured.rounds)] for key in keys}


def ratios(ours: Mapping[str, float], theirs: Mapping[str, float]) -> dict[str, float]:
    """Ours divided by theirs, for each of RATIOS that both have."""
    return {
        name: round(ours[key] / theirs[key], 4)
        for name, key in RATIOS.items()
        if key in ours and theirs.get(key)
    }


def peer_document(measured: Measured) -> dict[str, Any]:
    """What the JSON file says of one peer."""
    return {
        "version": measured.pair.peer.version(),
        "medians": medians(measured),
        "spread": spread(measured),
        "rounds": measured.rounds,
        "memory_idle_kib": measured.pair.idle,
        "memory_after_kib": measured.after,
    }


def workload_document(results: list[Measured]) -> dict[str, Any]:
    """What the JSON file says of one workload: each peer, and each over Envoy."""
    peers = {measured.pair.peer.name: peer_document(measured) for measured in results}
    envoy = peers.get("envoy")
    compared = {
        name: ratios(peer["medians"], envoy["medians"])
        for name, peer in peers.items()
        if envoy is not None and name not in ("envoy", "direct")
    }
    return {"peers": peers, "ratio_to_envoy_of": compared}


def table(title: str, document: Mapping[str, Any], titles: Mapping[str, str]) -> Table:
    """One column per peer: medians, with half the distance of lowest and highest; then Glassmesh over Envoy."""
    found = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    found.add_column("")
    for name in document["peers"]:
        found.add_column(titles[name], justify="right")
    found.add_column("ratio", justify="right", style="bold")
    ours = document["ratio_to_envoy_of"].get("glassmesh", {})
    by_key = {RATIOS[name]: value for name, value in ours.items()}
    for key, label, scale, form in ROWS:
        ratio = by_key.get(key)
        cells = (_cell(peer, key, scale, form) for peer in document["peers"].values())
        found.add_row(label, *cells, "" if ratio is None else f"{ratio:.2f}")
    return found


def _cell(peer: Mapping[str, Any], key: str, scale: float, form: str) -> str:
    value = peer["medians"].get(key)
    if value is None:
        return "–"
    text = format(value * scale, form)
    if key in peer["spread"] and len(peer["rounds"]) > 1 and value:
        low, high = peer["spread"][key]
        text += f" [dim]±{(high - low) / 2 / value:.0%}[/dim]"
    return text
