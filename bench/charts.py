"""Charts of one run's document, as PNG and SVG: `python -m bench.charts [--figures FILE] [--into DIRECTORY]`.

A chart whose figures the run did not measure is not drawn. Nothing here measures or judges.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")  # draws into files, needs no display
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.workloads import WORKLOADS

Document = Mapping[str, Any]
RESULTS = Path(__file__).parent / "results"
INK, PALE = "#24303a", "#d5dbe0"
COLOURS = {
    "direct": "#b9c1c8",
    "envoy": "#8a6fae",
    "glassmesh": "#0b7f8c",
    "glassmesh_telemetry": "#7cc3c9",
    "glassmesh_source": "#4d98a8",
    "haproxy": "#c9a23a",
    "nginx": "#88a65e",
    "mitmproxy": "#cf6a4d",
    "proxy_py": "#dd9c88",
}
TITLES = {
    "direct": "no proxy",
    "envoy": "Envoy",
    "glassmesh": "Glassmesh",
    "glassmesh_telemetry": "Glassmesh\n+ telemetry",
    "glassmesh_source": "Glassmesh\nfrom source",
    "haproxy": "HAProxy",
    "nginx": "nginx",
    "mitmproxy": "mitmproxy",
    "proxy_py": "proxy.py",
}
STYLE: Any = {  # a literal of matplotlib's hundreds of keys
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    # Letters as letters: a picture with hundreds of them as outlines is three times as large.
    "svg.fonttype": "none",
    "svg.hashsalt": "glassmesh",  # the same figures make the same file
}


def medians(document: Document, workload: str) -> dict[str, Mapping[str, float]]:
    """By peer; empty when the workload was not measured."""
    peers = document["workloads"].get(workload, {}).get("peers", {})
    return {name: peer["medians"] for name, peer in peers.items()}


def cost(document: Document, workload: str) -> float | None:
    """Our CPU for the same work, over Envoy's."""
    ratio = document["workloads"][workload]["ratio_to_envoy"].get("glassmesh", {})
    if "bytes_per_cpu_second" in ratio:
        return float(1 / ratio["bytes_per_cpu_second"])
    found = ratio.get("cpu_us_per_request")
    return None if found is None else float(found)


def costs(document: Document) -> Figure | None:
    """Every workload on one axis."""
    rows = [
        (one.section, one.title, value)
        for one in WORKLOADS
        if one.name in document["workloads"] and (value := cost(document, one.name)) is not None
    ]
    if not rows:
        return None
    figure, axes = pyplot.subplots(figsize=(8.6, 0.9 + 0.235 * (len(rows) + len({row[0] for row in rows}))))
    y, ticks, labels = 0.0, [], []
    section = ""
    for heading, title, value in rows:
        if heading != section:
            section = heading
            ticks.append(y)
            labels.append(heading)
            y += 1
        axes.plot(
            [1, value],
            [y, y],
            color=COLOURS["glassmesh" if value <= 1 else "mitmproxy"],
            linewidth=2,
            alpha=0.55,
        )
        axes.plot(value, y, "o", color=COLOURS["glassmesh" if value <= 1 else "mitmproxy"], markersize=5.5)
        # Outside of its line, so that neither covers the other.
        axes.annotate(f"{value:.2f}", (value, y), (7 if value > 1 else -7, 0), textcoords="offset points",
                      va="center", ha="left" if value > 1 else "right", fontsize=8)  # fmt: skip
        ticks.append(y)
        labels.append(title)
        y += 1
    axes.set_yticks(ticks, labels)
    headings = {row[0] for row in rows}
    for text in axes.get_yticklabels():
        if text.get_text() in headings:
            text.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.axvline(1, color=COLOURS["envoy"], linewidth=1.4)
    axes.set_ylim(y - 0.4, -0.8)
    figure.suptitle("CPU for the same work, Glassmesh over Envoy (the line): less is better",
                    x=0.015, ha="left", fontsize=10, fontweight="bold")  # fmt: skip
    lowest, highest = min(row[2] for row in rows), max(row[2] for row in rows)
    axes.set_xlim(min(0.5, lowest - 0.15), max(1.3, highest + 0.15))
    axes.grid(axis="x")
    return figure


def bars(
    axes: Axes, title: str, values: Mapping[str, float], form: str, *, names: Iterable[str] | None = None
) -> None:
    """One bar for each peer, with its figure above."""
    shown = [name for name in (names or values) if name in values]
    drawn = axes.bar(
        [TITLES[name] for name in shown],
        [values[name] for name in shown],
        color=[COLOURS[name] for name in shown],
        width=0.68,
    )
    axes.bar_label(drawn, [format(values[name], form) for name in shown], padding=2, fontsize=8)
    axes.set_title(title)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="x", length=0, labelsize=7.5)
    axes.margins(y=0.14)


def istio(document: Document) -> Figure | None:
    """Istio's published load: CPU, latency added, memory."""
    found = medians(document, "istio")
    if "envoy" not in found or "glassmesh" not in found:
        return None
    figure, (cpu, memory, added) = pyplot.subplots(3, 1, figsize=(8.6, 7.2), height_ratios=(1, 1, 1.15))
    bars(
        cpu,
        "vCPU of one sidecar at 1,000 requests/s",
        {n: f["vcpu"] for n, f in found.items() if "vcpu" in f},
        ".3f",
    )
    bars(memory, "resident memory of one sidecar, MiB", {n: f["rss_kib"] / 1024 for n, f in found.items() if "rss_kib" in f}, ".1f")  # fmt: skip
    names = [name for name, each in found.items() if "added_p50_us" in each]
    for number, name in enumerate(names):
        width = 0.8 / len(names)
        at = [place + width * (number - (len(names) - 1) / 2) for place in range(3)]
        heights = [found[name][f"added_{p}_us"] / 1000 for p in ("p50", "p90", "p99")]
        drawn = added.bar(
            at, heights, width * 0.92, color=COLOURS[name], label=TITLES[name].replace("\n", " ")
        )
        added.bar_label(drawn, [f"{height:.2f}" for height in heights], padding=2, fontsize=7)
    added.set_xticks(range(3), ["p50", "p90", "p99"])
    added.set_title("latency added by both sidecars, ms")
    added.set_yticks([])
    added.spines["left"].set_visible(False)
    added.tick_params(axis="x", length=0)
    added.margins(y=0.16)
    added.legend(loc="upper left", fontsize=8)
    return figure


def saturation(document: Document) -> Figure | None:
    """How many requests a pair carries, and at what cost, by connections."""
    counts = [count for count in (1, 2, 16, 64) if f"saturation_{count}" in document["workloads"]]
    if len(counts) < 2:
        return None
    figure, (rate, used) = pyplot.subplots(1, 2, figsize=(8.6, 3.1))
    for axes, key, title in (
        (rate, "requests_per_second", "requests/s, both sidecars on one CPU"),
        (used, "cpu_us_per_request", "CPU of one sidecar for a request, µs"),
    ):
        for name in ("envoy", "glassmesh"):
            values = [medians(document, f"saturation_{count}").get(name, {}).get(key) for count in counts]
            places = [place for place, value in enumerate(values) if value is not None]
            axes.plot(
                places,
                [values[place] or 0 for place in places],
                "o-",
                color=COLOURS[name],
                label=TITLES[name],
                linewidth=2,
            )
        axes.set_xticks(range(len(counts)), [str(count) for count in counts])
        axes.set_xlabel("connections")
        axes.set_title(title)
        axes.margins(y=0.12)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    rate.legend(loc="lower right")
    return figure


def request(document: Document) -> Figure | None:
    """What one request costs one sidecar: the kernel's part, which every proxy pays, and its own."""
    found = {
        name: each
        for name, each in medians(document, "saturation_16").items()
        if "kernel_us_per_request" in each
    }
    if "envoy" not in found or "glassmesh" not in found:
        return None
    figure, axes = pyplot.subplots(figsize=(8.6, 0.7 + 0.42 * len(found)))
    names = list(found)
    kernel = [found[name]["kernel_us_per_request"] for name in names]
    own = [found[name]["cpu_us_per_request"] - part for name, part in zip(names, kernel, strict=True)]
    rows = range(len(names))
    axes.barh(rows, kernel, color=PALE, height=0.66)
    drawn = axes.barh(rows, own, left=kernel, color=[COLOURS[name] for name in names], height=0.66)
    for row, (part, rest) in enumerate(zip(kernel, own, strict=True)):
        axes.text(part / 2, row, f"{part:.0f}", va="center", ha="center", fontsize=8)
        axes.text(part + rest / 2, row, f"{rest:.0f}", va="center", ha="center", fontsize=8, color="white")
    axes.bar_label(
        drawn, [f"{part + rest:.1f}" for part, rest in zip(kernel, own, strict=True)], padding=4, fontsize=8
    )
    axes.set_yticks(rows, [TITLES[name].replace("\n", " ") for name in names])
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.09)
    figure.suptitle("CPU of one sidecar for one request, µs: in the kernel (pale) and its own code",
                    x=0.015, ha="left", fontsize=10, fontweight="bold")  # fmt: skip
    return figure


def peers(document: Document) -> Figure | None:
    """Beside others: requests of one CPU second, as a pair and on the ground of Python's proxies."""
    pair, hop = medians(document, "saturation_16"), medians(document, "one_hop")
    shown = [
        (title, {name: each[key] for name, each in found.items() if key in each})
        for title, found in (("two hops with mutual TLS", pair), ("one plaintext hop", hop))
        for key in ("requests_per_cpu_second",)
    ]
    shown = [(title, values) for title, values in shown if "glassmesh" in values]
    if not shown:
        return None
    widths = [len(values) for _, values in shown]
    figure, all_axes = pyplot.subplots(1, len(shown), figsize=(10, 3.1), squeeze=False, width_ratios=widths)
    for axes, (title, values) in zip(all_axes[0], shown, strict=True):
        bars(axes, f"requests per CPU second, {title}", values, ",.0f")
    return figure


def scale(document: Document) -> Figure | None:
    """Configuration at scale: what holding it takes, and how long a change takes."""
    sizes = [one for one in (document.get("scale") or {}).get("sizes", []) if "envoy" in one.get("real", {})]
    if not sizes:
        return None
    figure, (memory, applied) = pyplot.subplots(1, 2, figsize=(8.6, 3.4), width_ratios=(1, 1.6))
    for kind in ("envoy", "glassmesh"):
        held = [one["real"][kind]["after"]["rss"] / 1024 for one in sizes]
        memory.plot(range(len(held)), held, "o-", color=COLOURS[kind], label=TITLES[kind], linewidth=2)
    memory.set_xticks(range(len(sizes)), [f"{one['services']:,}" for one in sizes])
    memory.set_xlabel("services, 10 endpoints each")
    memory.set_title("resident memory, MiB")
    memory.margins(y=0.12)
    memory.set_ylim(bottom=0)
    memory.grid(axis="y")
    memory.legend(loc="best")
    largest = sizes[-1]
    changes = largest["real"]["changes"]
    for number, kind in enumerate(("envoy", "glassmesh")):
        at = [place + 0.38 * (number - 0.5) for place in range(len(changes))]
        heights = [change[kind]["median_ms"] for change in changes.values()]
        drawn = applied.bar(at, heights, 0.35, color=COLOURS[kind])
        applied.bar_label(drawn, [f"{height:.0f}" for height in heights], padding=2, fontsize=7)
    applied.set_xticks(range(len(changes)), [title.replace(" ", "\n", 1) for title in changes], fontsize=8)
    applied.set_title(f"from change to applied, {largest['services']:,} services, ms")
    applied.set_yticks([])
    applied.spines["left"].set_visible(False)
    applied.tick_params(axis="x", length=0)
    applied.margins(y=0.14)
    return figure


CHARTS: dict[str, Callable[[Document], Figure | None]] = {
    "costs": costs,
    "istio": istio,
    "saturation": saturation,
    "request": request,
    "peers": peers,
    "scale": scale,
}


def draw(document: Document, into: Path, names: Sequence[str] = tuple(CHARTS)) -> list[Path]:
    """Writes each chart the document has figures for, twice; what was written."""
    into.mkdir(parents=True, exist_ok=True)
    written = []
    with pyplot.rc_context(STYLE):
        for name in names:
            figure = CHARTS[name](document)
            if figure is None:
                continue
            figure.tight_layout()
            for file, metadata in ((into / f"{name}.png", {}), (into / f"{name}.svg", {"Date": None})):
                figure.savefig(file, dpi=110, metadata=metadata)
                written.append(file)
            pyplot.close(figure)
    return written


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.charts", description=__doc__)
    parser.add_argument(
        "--figures", type=Path, default=RESULTS / "latest.json", help="a run's document (%(default)s)"
    )
    parser.add_argument(
        "--into", type=Path, default=RESULTS / "charts", help="where the pictures go (%(default)s)"
    )
    options = parser.parse_args()
    for file in draw(json.loads(options.figures.read_text()), options.into):
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
