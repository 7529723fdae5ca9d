"""`python -m bench [--quick] [--only NAME,…] [--peers NAME,…] [--rounds N]`: the command line of the benchmark."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from bench import charts, goals, machine, report, runner, scaled
from bench.children import ChildDied
from bench.peers import PEERS
from bench.peers.peer import Peer
from bench.workloads import WORKLOADS
from bench.workloads.workload import Workload

RESULTS = Path(__file__).parent / "results" / "latest.json"
SCALE = "scale"
"""The name by which configuration at scale is chosen; it is measured by `bench.scale`."""
QUICK_PEERS = "direct,envoy,glassmesh,glassmesh_telemetry"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="the chief workloads in about a minute, with wider spread"
    )
    parser.add_argument("--rounds", type=int, help="rounds per workload and peer")
    parser.add_argument("--stretch", type=float, help="multiplies the seconds of every measurement")
    parser.add_argument("--only", help=f"comma list of {', '.join(one.name for one in WORKLOADS)}, {SCALE}")
    parser.add_argument("--peers", help=f"comma list of {', '.join(peer.name for peer in PEERS)}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go (%(default)s)")
    parser.add_argument("--no-charts", action="store_true", help="draw none beside the figures")
    return parser.parse_args()


def selected(names: str | None, known: Sequence[str], what: str) -> list[str]:
    """Those of `known` that are in the comma list `names`, in their own order; all without one. Raises SystemExit naming the unknown."""
    if names is None:
        return list(known)
    wanted = [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"no {what} {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if name in wanted]


def chosen_workloads(only: str | None, quick: bool) -> tuple[list[Workload], bool]:
    """The workloads to run, and whether configuration at scale is measured."""
    names = selected(only, [*(one.name for one in WORKLOADS), SCALE], "workload")
    kept = [one for one in WORKLOADS if one.name in names and (one.quick or only or not quick)]
    return kept, SCALE in names and (only is not None or not quick)


def chosen_peers(names: str | None, workloads: Sequence[Workload]) -> tuple[list[Peer], dict[str, str]]:
    """The wanted peers that can run here, and the reason of each that cannot, by title."""
    kept = selected(names, [peer.name for peer in PEERS], "peer")
    wanted = {name for workload in workloads for name in workload.peers}
    found, missing = [], {}
    for peer in PEERS:
        if peer.name in kept and peer.name in wanted:
            reason = peer.unavailable()
            if reason:
                missing[peer.title] = reason
            else:
                found.append(peer)
    return found, missing


def effort(options: argparse.Namespace) -> runner.Effort:
    found = runner.QUICK if options.quick else runner.FULL
    return runner.Effort(options.rounds or found.rounds, options.stretch or found.stretch)


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The document of one run, whose tables are printed."""
    workloads, with_scale = chosen_workloads(options.only, options.quick)
    peers, missing = chosen_peers(options.peers or (QUICK_PEERS if options.quick else None), workloads)
    for title, reason in missing.items():
        console.print(f"[yellow]without {title}: {escape(reason)}[/yellow]", highlight=False)
    pins, wanted = machine.pinning(os.sched_getaffinity(0)), effort(options)
    here, began = machine.description(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="glassmesh-bench-") as directory, Progress(console) as say:
        results = runner.run(workloads, peers, wanted, pins, Path(directory), say)
        scale = configuration_at_scale(Path(directory), say, missing) if with_scale else None
    found = {one.name: report.workload_document(one, results[one.name]) for one in workloads}
    document: dict[str, Any] = {
        "ratio_to_envoy": report.headline(found, "glassmesh"),
        "ratio_to_envoy_with_telemetry": report.headline(found, "glassmesh_telemetry"),
        "ratio_to_envoy_by_workload": report.by_workload(found),
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began),
        "machine": here,
        "cpus_of": pins.text,
        "effort": vars(wanted),
        "configuration": "compiled by the control plane for vanilla Envoy, moved to loopback (bench/compiled.py)",
        "versions": {peer.name: peer.version() for peer in peers},
        "missing": missing,
        "workloads": found,
        "scale": scale,
    }
    document["goals"] = goals.judged(document)
    show(console, document, workloads, {peer.name: peer.title for peer in peers})
    return document


def configuration_at_scale(
    directory: Path, say: Callable[[str], None], missing: dict[str, str]
) -> dict[str, Any] | None:
    """Its figures; where it cannot run, or not to its end, the reason goes to `missing`, and the other figures stand."""
    try:
        return scaled.measure(directory, say)
    except (ChildDied, TimeoutError) as error:
        missing[SCALE] = str(error)
        return None


def show(
    console: Console, document: dict[str, Any], workloads: Sequence[Workload], titles: dict[str, str]
) -> None:
    """Prints every table of the document."""
    for table in report.tables(workloads, document["workloads"], titles):
        console.print(table)
    if document["scale"]:
        console.print(scaled.table(document["scale"]["sizes"]))
    elif SCALE in document["missing"]:
        reason = escape(document["missing"][SCALE])
        console.print(f"[red]configuration at scale was not measured:[/red] {reason}", highlight=False)
    if any(one["met"] is not None for one in document["goals"].values()):
        console.print(goals.table(document["goals"]))


class Progress:
    """Tells what is measured now: in a line that changes on a terminal, in a line now and then elsewhere."""

    _EVERY_S = 30.0

    def __init__(self, console: Console) -> None:
        self._status = console.status("starting")
        self._console = console
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Callable[[str], None]:
        self._status.start()
        return self._say

    def _say(self, text: str) -> None:
        moment = time.monotonic()
        passed = f"{moment - self._began:.0f} s: {escape(text)}"
        self._status.update(passed)
        if not self._console.is_terminal and moment - self._told >= self._EVERY_S:
            self._told = moment
            self._console.print(passed, highlight=False)

    def __exit__(self, *_: object) -> None:
        self._status.stop()


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 150)  # a file has room for every peer's column
    options = arguments()
    # Both end the run in order; a shell's background job starts with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        document = measure(options, console)
    except (runner.RunFailed, ChildDied, TimeoutError) as error:
        console.print("[red]the run failed:[/red]", escape(str(error)), highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running and nothing was written")
        return 130
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=2) + "\n")
    console.print(f"CPUs: {document['cpus_of']}. Written to {os.path.relpath(options.output)}")
    if not options.no_charts:
        into = options.output.parent / "charts"
        drawn = charts.draw(document, into)
        console.print(f"{len(drawn)} charts in {os.path.relpath(into)}")
    return int(SCALE in document["missing"])


if __name__ == "__main__":
    sys.exit(main())
