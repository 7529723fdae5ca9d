"""From rounds to the JSON document and the tables. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from bench.figures import Figures, Measured, medians, ratios, spread, with_added
from bench.workloads.workload import Workload

Document = dict[str, Any]
# Figure → its row, the factor to that unit, and the format.
LABELS: dict[str, tuple[str, float, str]] = {
    "requests_per_second": ("requests/s", 1, ",.0f"),
    "requests_per_cpu_second": ("requests per CPU second", 1, ",.0f"),
    "cpu_us_per_request": ("CPU/request, µs", 1, ".1f"),
    "kernel_us_per_request": ("  of it in the kernel, µs", 1, ".1f"),
    "bytes_per_second": ("MiB/s", 2**-20, ",.0f"),
    "bytes_per_cpu_second": ("MiB per CPU second", 2**-20, ",.0f"),
    "vcpu": ("vCPU of one sidecar", 1, ".3f"),
    "p50_us": ("p50, ms", 1e-3, ".2f"),
    "p90_us": ("p90, ms", 1e-3, ".2f"),
    "p99_us": ("p99, ms", 1e-3, ".2f"),
    "added_p50_us": ("added at p50, ms", 1e-3, ".2f"),
    "added_p90_us": ("added at p90, ms", 1e-3, ".2f"),
    "added_p99_us": ("added at p99, ms", 1e-3, ".2f"),
    "rss_idle_kib": ("RSS idle, MiB", 1 / 1024, ".1f"),
    "rss_kib": ("RSS after, MiB", 1 / 1024, ".1f"),
    "pss_kib": ("PSS after, MiB", 1 / 1024, ".1f"),
    "resumed_share": ("sessions resumed", 1, ".0%"),
    "connections_held": ("connections held", 1, ",.0f"),
    "cpu_us_per_connection": ("CPU/connection, µs", 1, ",.0f"),
    "kib_per_connection": ("KiB/connection", 1, ".1f"),
}
# Name at the document's top level → workload and figure.
HEADLINE = {
    "cpu_per_request": ("saturation_16", "cpu_us_per_request"),
    "requests_per_second": ("saturation_16", "requests_per_second"),
    "p50": ("saturation_16", "p50_us"),
    "p99": ("saturation_16", "p99_us"),
    "p50_at_rate": ("istio", "p50_us"),
    "p99_at_rate": ("istio", "p99_us"),
    "added_p50_at_rate": ("istio", "added_p50_us"),
    "added_p99_at_rate": ("istio", "added_p99_us"),
    "vcpu_at_rate": ("istio", "vcpu"),
    "rss": ("saturation_16", "rss_kib"),
    "pss": ("saturation_16", "pss_kib"),
    "rss_idle": ("saturation_16", "rss_idle_kib"),
}


def peer_document(measured: Measured) -> Document:
    """What the JSON file says of one peer in one workload."""
    return {"medians": medians(measured), "spread": spread(measured), "rounds": measured.rounds}


def workload_document(workload: Workload, results: Sequence[Measured]) -> Document:
    """What the JSON file says of one workload: each peer, and each over Envoy."""
    with_added(results)
    peers = {measured.peer.name: peer_document(measured) for measured in results}
    envoy = peers.get("envoy")
    compared = {
        name: ratios(peer["medians"], envoy["medians"])
        for name, peer in peers.items()
        if envoy is not None and name not in ("envoy", "direct")
    }
    return {
        "title": workload.title,
        "section": workload.section,
        "peers": peers,
        "ratio_to_envoy": compared,
    }


def headline(workloads: Mapping[str, Document], peer: str) -> Figures:
    """The ratios at the document's top level, of one peer; those not measured are left out."""
    found = {}
    for name, (workload, figure) in HEADLINE.items():
        value = workloads.get(workload, {}).get("ratio_to_envoy", {}).get(peer, {}).get(figure)
        if value is not None:
            found[name] = value
    return found


def by_workload(workloads: Mapping[str, Document], peer: str = "glassmesh") -> dict[str, Figures]:
    """Our ratios to Envoy, by workload."""
    return {name: one["ratio_to_envoy"].get(peer, {}) for name, one in workloads.items()}


def tables(
    workloads: Iterable[Workload], documents: Mapping[str, Document], titles: Mapping[str, str]
) -> Iterator[Table]:
    """One table for each section: a column for each peer, then Glassmesh over Envoy."""
    for section, group in itertools.groupby(workloads, lambda workload: workload.section):
        yield _table(section, list(group), documents, titles)


def _table(
    section: str, group: list[Workload], documents: Mapping[str, Document], titles: Mapping[str, str]
) -> Table:
    measured = [name for name in titles if any(name in documents[one.name]["peers"] for one in group)]
    table = Table(title=section, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in measured:
        table.add_column(titles[name], justify="right", no_wrap=True)
    table.add_column("ratio", justify="right", style="bold")
    for workload in group:
        document = documents[workload.name]
        for number, figure in enumerate(workload.show):
            title = "" if number else workload.title
            table.add_row(title, *_row(document, figure, measured))
    return table


def _row(document: Document, figure: str, names: Iterable[str]) -> list[str]:
    ratio = document["ratio_to_envoy"].get("glassmesh", {}).get(figure)
    cells = []
    for name in names:
        value, around = cell(document["peers"].get(name), figure)
        cells.append(f"{value} [dim]{around}[/dim]" if around else value)
    return [LABELS[figure][0], *cells, "" if ratio is None else f"{ratio:.2f}"]


def cell(peer: Mapping[str, Any] | None, figure: str) -> tuple[str, str]:
    """The median in the figure's unit, and half the distance of lowest and highest if there was more than one round."""
    value = peer["medians"].get(figure) if peer else None
    if peer is None or value is None:
        return "–", ""
    _, scale, form = LABELS[figure]
    around = ""
    if figure in peer["spread"] and len(peer["rounds"]) > 1 and value:
        low, high = peer["spread"][figure]
        around = f"±{(high - low) / 2 / abs(value):.0%}"
    return format(value * scale, form), around
