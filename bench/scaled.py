"""Configuration at scale as a part of the whole run: `bench.scale` in a process of its own, and what the goals ask of its figures.

`bench.scale` enters a network namespace, so it cannot run in this process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from bench.children import ChildDied, Children, wait_until
from bench.sidecars import ENVIRONMENT

Figures = dict[str, Any]
SIZES = (10, 100, 1000)
CLIENTS, ROUNDS = 1000, 2
PATIENCE_S = 300.0


def measure(directory: Path, say: Callable[[str], None]) -> Figures:
    """The figures of every size, and those the goals name. Raises ChildDied, TimeoutError."""
    told = directory / "scale.json"
    argv = [sys.executable, "-m", "bench.scale", "--json", str(told)]
    argv += ["--clients", str(CLIENTS), "--rounds", str(ROUNDS), "--services", *map(str, SIZES)]
    say(f"configuration at scale: {', '.join(f'{size:,}' for size in SIZES)} services")
    with Children(directory) as children:
        # Its temporary files are ours to remove, should it be ended early.
        child = children.start("scale", argv, env={**ENVIRONMENT, "TMPDIR": str(directory)})
        wait_until("configuration at scale", lambda: child.process.poll() is not None, [], PATIENCE_S)
        if child.process.returncode or not told.exists():
            raise ChildDied(f"bench.scale ended with {child.process.returncode}:\n{child.tail()}")
    sizes = json.loads(told.read_text())
    return {"sizes": sizes, "goals": goals(sizes[-1])}


def goals(largest: Mapping[str, Any]) -> dict[str, float]:
    """Of the largest mesh: the slowest kind of change until the last client applied it, however it connects, in s; the worst ratio to
    Envoy; memory to Envoy's."""
    found: dict[str, float] = {}
    real, thin = largest.get("real", {}), largest.get("thin", {})
    slowest = [change["max_ms"] for way in thin.values() for change in way.get("changes", {}).values()]
    if slowest:
        found["applied_s"] = max(slowest) / 1000
    compared = [
        change["glassmesh"]["median_ms"] / change["envoy"]["median_ms"]
        for change in real.get("changes", {}).values()
        if change.get("envoy", {}).get("median_ms") and "glassmesh" in change
    ]
    if compared:
        found["applied_ratio"] = max(compared)
    if "glassmesh" in real and "envoy" in real:
        found["memory_ratio"] = real["glassmesh"]["after"]["rss"] / real["envoy"]["after"]["rss"]
    return found


def table(sizes: Iterable[Mapping[str, Any]]) -> Table:
    """A line for each figure and size: Envoy, Glassmesh, and one over the other; then what thin clients saw."""
    shown = Table(
        title="configuration at scale", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    for name in ("services", ""):
        shown.add_column(name, no_wrap=True)
    for name in ("Envoy", "Glassmesh", "ratio"):
        shown.add_column(name, justify="right")
    for size in sizes:
        for number, row in enumerate(rows(size)):
            shown.add_row("" if number else f"{size['services']:,} × {size['endpoints']}", *row)
    return shown


def rows(size: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What was measured, Envoy's, ours, one over the other; of one mesh size."""
    thin = size.get("thin", {})
    return [*_real_rows(size.get("real", {})), *(row for way in thin for row in _thin_rows(thin[way], way))]


def _real_rows(real: Mapping[str, Any]) -> Iterable[tuple[str, ...]]:
    if "envoy" not in real or "glassmesh" not in real:
        return
    envoy, ours = (real[kind]["after"]["rss"] / 1024 for kind in ("envoy", "glassmesh"))
    yield "RSS, MiB", f"{envoy:.1f}", f"{ours:.1f}", f"{ours / envoy:.2f}"
    for title, change in real.get("changes", {}).items():
        envoy, ours = (change[kind]["median_ms"] for kind in ("envoy", "glassmesh"))
        yield f"applied after {title}, ms", f"{envoy:.0f}", f"{ours:.0f}", f"{ours / envoy:.2f}"
    for title, change in real.get("applies", {}).items():
        envoy, ours, own = (change[kind]["median_ms"] for kind in ("envoy", "glassmesh", "kubectl"))
        yield (
            f"kubectl apply until applied, {title}, ms",
            f"{envoy:.0f}",
            f"{ours:.0f}",
            f"{ours / envoy:.2f}",
        )
        yield "  kubectl's own process, ms", f"{own:.0f}", f"{own:.0f}", ""
    if "kubectl" in real:
        yield real["kubectl"], "", "", ""


def _thin_rows(thin: Mapping[str, Any], way: str) -> Iterable[tuple[str, ...]]:
    if not thin.get("changes"):
        return
    many = f"{thin['connected']:,} thin clients, {'TLS' if way == 'tls' else way}"
    if "connect" in thin:
        yield f"{many}: last one connected, ms", "", f"{thin['connect']['max_ms']:.0f}", ""
    said = {"first configuration": thin["first"], **thin["changes"]} if "first" in thin else thin["changes"]
    for title, change in said.items():
        yield f"{many}, {title}: last one, ms", "", f"{change['max_ms']:.0f}", ""
        yield "  bytes for each", "", f"{change['bytes_per_client']:,.0f}", ""
        if "control_cpu_s" in change:
            yield "  control plane's CPU, s", "", f"{change['control_cpu_s']:.2f}", ""
    for title, change in thin.get("applies", {}).items():
        yield f"{many}, kubectl apply, {title}: last one, ms", "", f"{change['max_ms']:.0f}", ""
        yield "  kubectl's own process, ms", "", f"{change['kubectl_ms']:.0f}", ""
    if "control_memory" in thin:
        yield f"control plane's RSS with {many}, MiB", "", f"{thin['control_memory']['rss'] / 1024:.0f}", ""
