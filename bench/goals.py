"""What we hold ourselves to, as ratios within one run, and whether a run's document reaches it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table

Document = Mapping[str, Any]
BODIES = ("bodies_64k_down", "bodies_64k_up", "bodies_10m_down", "bodies_10m_up")


@dataclass(frozen=True)
class Goal:
    """`measured` finds the figure in a run's document; None when the run did not measure it. `limit` is a bound from above, or from below
    with `at_least`."""

    name: str
    text: str
    limit: float
    measured: Callable[[Document], float | None]
    at_least: bool = False
    unit: str = ""

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def bound(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{self.unit}"


def ratio(workload: str, figure: str) -> Callable[[Document], float | None]:
    """Ours over Envoy's."""

    def find(document: Document) -> float | None:
        found = document["workloads"].get(workload, {}).get("ratio_to_envoy", {})
        value = found.get("glassmesh", {}).get(figure)
        return None if value is None else float(value)

    return find


def over(peer: str) -> Callable[[Document], float | None]:
    """Our requests per CPU second over those of a Python peer, on its own ground."""

    def find(document: Document) -> float | None:
        peers = document["workloads"].get("one_hop", {}).get("peers", {})
        if peer not in peers or "glassmesh" not in peers:
            return None
        figure = "requests_per_cpu_second"
        return float(peers["glassmesh"]["medians"][figure] / peers[peer]["medians"][figure])

    return find


def least_body_ratio(document: Document) -> float | None:
    """The worst of the bodies, both ways."""
    found = [ratio(name, "bytes_per_cpu_second")(document) for name in BODIES]
    known = [value for value in found if value is not None]
    return min(known) if len(known) == len(BODIES) else None


def of_scale(name: str) -> Callable[[Document], float | None]:
    """A figure that the measurement of configuration at scale states itself."""

    def find(document: Document) -> float | None:
        value = (document.get("scale") or {}).get("goals", {}).get(name)
        return None if value is None else float(value)

    return find


GOALS = [
    Goal("cpu_per_request", "CPU per request and sidecar, 1 KiB GET", 0.8, ratio("saturation_16", "cpu_us_per_request")),
    Goal("requests_per_second", "requests/s at saturation", 1.25, ratio("saturation_16", "requests_per_second"), True),
    Goal("added_p99", "latency added at p99, 1,000 requests/s", 1.0, ratio("istio", "added_p99_us")),
    Goal("rss", "resident memory after the run", 0.6, ratio("saturation_16", "rss_kib")),
    Goal("rss_1000_services", "resident memory with 1,000 services × 10 endpoints", 1.0, of_scale("memory_ratio")),
    Goal("cpu_1000_routes", "CPU per request with 1,000 routes", 0.8, ratio("routes_1000", "cpu_us_per_request")),
    Goal("new_connections", "new mTLS connections/s", 0.8, ratio("new_connections", "requests_per_second"), True),
    Goal("bodies", "64 KiB and 10 MiB bodies, bytes per CPU second, the worst", 0.8, least_body_ratio, True),
    Goal("change_seconds", "change to applied everywhere, 1,000 services", 1.0, of_scale("applied_s"), unit=" s"),
    Goal("change_ratio", "the same, to Envoy from the same control plane", 1.0, of_scale("applied_ratio")),
    Goal("mitmproxy", "requests per CPU second, one plaintext hop, to mitmproxy's", 15, over("mitmproxy"), True),
    Goal("proxy_py", "requests per CPU second, one plaintext hop, to proxy.py's", 3, over("proxy_py"), True),
]  # fmt: skip


def judged(document: Document) -> dict[str, dict[str, Any]]:
    """Each goal with what was measured; `met` is None where nothing was."""
    found = {}
    for goal in GOALS:
        value = goal.measured(document)
        found[goal.name] = {
            "goal": goal.text,
            "bound": goal.bound,
            "measured": None if value is None else round(value, 4),
            "met": None if value is None else goal.met(value),
        }
    return found


def table(found: Mapping[str, Mapping[str, Any]]) -> Table:
    """Goals that were measured."""
    shown = Table(
        title="goals, ratios to Envoy", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    shown.add_column("")
    for name in ("goal", "measured", ""):
        shown.add_column(name, justify="right")
    for one in found.values():
        if one["met"] is not None:
            word = "[green]met[/green]" if one["met"] else "[red]missed[/red]"
            shown.add_row(one["goal"], one["bound"], f"{one['measured']:.2f}", word)
    return shown
