"""`python -m bench.profile`: the stages of one request in our sidecars and in Envoy's, as a table, a chart and figures.

Total CPU comes from /proc, over undisturbed and interleaved rounds; how it divides, from `perf` and a sampler of Python functions
in runs of their own. With `--calls`, cProfile instead: exact counts of calls and inflated times.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.children import Children
from bench.peers import envoy, glassmesh
from bench.peers.peer import Peer
from bench.profile import functions, native, stages
from bench.runner import generate, ticks
from bench.sidecars import Pair, empty_log, start_app, start_pair
from bench.workloads.http import SATURATION

_TICKS = os.sysconf("SC_CLK_TCK")
RESULTS = Path(__file__).parents[1] / "results"
ROUNDS, PROFILED = 3, 3.5  # how often, and how many times the workload's seconds


class Bench:
    """The pairs of all peers, running."""

    def __init__(self, children: Children, directory: Path) -> None:
        self.children, self.directory = children, directory
        self.pins = machine.pinning(os.sched_getaffinity(0))
        self._app = start_app(children, SATURATION.scene, self.pins)

    def pair(self, peer: Peer) -> Pair:
        return start_pair(self.children, self.directory, peer, SATURATION.scene, self._app, self.pins)

    def run(self, pair: Pair, stretch: float = 1.0) -> dict[str, tuple[float, float]]:
        """User and system µs per request, by role."""
        before = ticks(pair)
        observed = generate(self.children, pair, SATURATION, self.pins, stretch)
        after = ticks(pair)
        requests = observed.result["requests"] + observed.result["warmup_requests"]
        for child in pair.sidecars.values():
            empty_log(child)
        return {
            role: tuple((after[role][i] - before[role][i]) / _TICKS * 1e6 / requests for i in (0, 1))
            for role in before
        }


def measure(bench: Bench, rows: int) -> dict[str, Any]:
    """The document: totals, stages and functions of each peer and role, in µs per request."""
    source = functions.peer("samples")
    peers = {"Envoy": envoy.PEER, "Glassmesh": source}
    if not glassmesh.FROM_SOURCE.unavailable():
        peers = {
            "Envoy": envoy.PEER,
            "Glassmesh, compiled": glassmesh.PEER,
            "Glassmesh, from source": source,
        }
    pairs = {title: bench.pair(peer) for title, peer in peers.items() if not peer.unavailable()}
    for pair in pairs.values():
        bench.run(pair)  # warm
    rounds: dict[str, list[dict[str, tuple[float, float]]]] = {title: [] for title in pairs}
    for _ in range(ROUNDS):
        for title, pair in pairs.items():
            rounds[title].append(bench.run(pair))
    document: dict[str, Any] = {"workload": SATURATION.title, "machine": machine.description(), "peers": {}}
    for title, pair in pairs.items():
        split = {
            role: [statistics.median(one[role][i] for one in rounds[title]) for i in (0, 1)]
            for role in pair.sidecars
        }
        document["peers"][title] = _divide(bench, pair, split, rows)
    return document


def _divide(bench: Bench, pair: Pair, split: dict[str, list[float]], rows: int) -> dict[str, Any]:
    """Profiles one pair and divides its time among the stages."""
    peer = pair.peer.name
    with native.recorded(
        bench.children, bench.directory, pair.sidecars, compiled=peer == glassmesh.PEER.name
    ) as recorded:
        bench.run(pair, PROFILED)
    outputs: dict[str, Path] = {}
    if peer == glassmesh.FROM_SOURCE.name:
        with functions.profiled(bench.directory, pair.sidecars) as outputs:
            bench.run(pair, 2 * PROFILED)
    found: dict[str, Any] = {}
    for role, (user, system) in split.items():
        total, code = user + system, recorded[role]
        found[role] = {"total_us": total, "user_us": user, "system_us": system}
        if role in outputs:
            samples = functions.samples(outputs[role])
            found[role]["stages"] = stages.from_source(total, code.kinds, stages.by_stage(samples))
            found[role]["functions"] = functions.by_name(samples, total)[:rows]
        elif peer == glassmesh.PEER.name:
            found[role]["stages"] = stages.compiled(total, code.kinds, stages.by_stage(code.functions))
            found[role]["functions"] = functions.by_name(code.whole, total)[:rows]
        else:
            found[role]["stages"] = stages.envoy(total, code.kinds)
        found[role]["floor_us"] = stages.floor(found[role]["stages"])
    return found


def show(console: Console, document: dict[str, Any]) -> None:
    """One column per sidecar, one row per stage; then the functions."""
    sidecars = [
        (f"{peer}\n{role}", figures)
        for role in ("client", "server")
        for peer, roles in document["peers"].items()
        if (figures := roles.get(role))
    ]
    table = Table(
        title=f"CPU of one request, µs; {document['workload']}", title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("")
    for title, _ in sidecars:
        table.add_column(title, justify="right")
    for name, key in (("total", "total_us"), ("user", "user_us"), ("system", "system_us")):
        table.add_row(
            name,
            *(f"{figures[key]:.1f}" for _, figures in sidecars),
            style="bold",
            end_section=key == "system_us",
        )
    for stage in stages.ORDER:
        if any(stage in figures["stages"] for _, figures in sidecars):
            cells = (figures["stages"].get(stage) for _, figures in sidecars)
            table.add_row(stage, *("" if cell is None else f"{cell:.1f}" for cell in cells))
    console.print(table)
    console.print("Of Envoy's user space no part has a name; its TLS is among it.\n")
    for title, figures in sidecars:
        if "functions" in figures:
            _show_functions(console, title.replace("\n", ", "), figures["functions"])


def _show_functions(console: Console, title: str, found: list[tuple[str, float]]) -> None:
    table = Table("µs", f"{title}: function, with what it calls outside the package", box=box.SIMPLE_HEAD)
    for name, own in found:
        table.add_row(f"{own:.2f}", name)
    console.print(table)


def count_calls(console: Console, bench: Bench, rows: int) -> None:
    """The runs of `--calls`."""
    pair = bench.pair(functions.peer("calls"))
    bench.run(pair)
    with functions.profiled(bench.directory, pair.sidecars) as outputs:
        requests = generate(bench.children, pair, SATURATION, bench.pins).result
    for role, output in outputs.items():
        found = functions.calls(output, int(requests["requests"] + requests["warmup_requests"]))
        total = sum(row[1] for row in found)
        table = Table(
            "calls", "own µs", "with callees", f"{role}: {total:.1f} calls a request", box=box.SIMPLE_HEAD
        )
        for where, calls, own, cumulative in found[:rows]:
            table.add_row(f"{calls:.2f}", f"{own:.2f}", f"{cumulative:.2f}", where)
        console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--rows", type=int, default=30, help="functions to show (%(default)s)")
    parser.add_argument("--calls", action="store_true", help="count calls with cProfile instead")
    parser.add_argument("--output", type=Path, default=RESULTS / "request-time.json", help="(%(default)s)")
    parser.add_argument(
        "--into", type=Path, default=RESULTS / "charts", help="where the chart goes (%(default)s)"
    )
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    with tempfile.TemporaryDirectory(prefix="glassmesh-profile-") as place, Children(Path(place)) as children:
        bench = Bench(children, Path(place))
        if options.calls:
            count_calls(console, bench, options.rows)
            return 0
        reason = native.why_not()
        if reason:
            console.print(f"[red]{reason}[/red]")
            return 1
        document = measure(bench, options.rows)
    show(console, document)
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    from bench.profile import chart  # after the measurement: it is heavy

    options.into.mkdir(parents=True, exist_ok=True)
    for file in (options.output, *chart.draw(document, options.into)):
        console.print(os.path.relpath(file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
