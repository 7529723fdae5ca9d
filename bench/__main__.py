"""`python -m bench [--quick]`: the command line of the benchmark."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from bench import machine, report, runner
from bench.children import ChildDied
from bench.peers import PEERS
from bench.peers.peer import Peer
from bench.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results" / "latest.json"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute, with wider spread")
    parser.add_argument("--rounds", type=int, help="rounds per peer")
    parser.add_argument("--peers", help=f"comma list of {', '.join(peer.name for peer in PEERS)}")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the figures go (%(default)s)")
    return parser.parse_args()


def chosen_peers(names: str | None, console: Console) -> list[Peer]:
    """The wanted peers that can run here; the others are named with their reason."""
    wanted = PEERS if names is None else [peer for peer in PEERS if peer.name in names.split(",")]
    found = []
    for peer in wanted:
        reason = peer.unavailable()
        if reason:
            console.print(f"[yellow]without {peer.title}: {reason}[/yellow]")
        else:
            found.append(peer)
    return found


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The document of one run over every workload."""
    peers = chosen_peers(options.peers, console)
    effort = runner.QUICK if options.quick else runner.FULL
    if options.rounds:
        effort = runner.Effort(options.rounds, effort.seconds, effort.warmup, effort.open_seconds)
    pins = machine.pinning(os.sched_getaffinity(0))
    document: dict[str, Any] = {
        "ratio_to_envoy": {},
        "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.description(),
        "cpus_of": pins.text,
        "effort": vars(effort),
        "configuration": "compiled by the control plane for vanilla Envoy, moved to loopback (bench/compiled.py)",
        "workloads": {},
    }
    for workload in WORKLOADS:
        with (
            tempfile.TemporaryDirectory(prefix="glassmesh-bench-") as directory,
            console.status("starting") as status,
        ):
            results = runner.run(workload, peers, effort, pins, Path(directory), status.update)
        found = report.workload_document(results)
        document["workloads"][workload.name] = found
        console.print(report.table(workload.title, found, {peer.name: peer.title for peer in peers}))
    first = document["workloads"][WORKLOADS[0].name]["ratio_to_envoy_of"]
    document["ratio_to_envoy"] = first.get("glassmesh", {})
    document["ratio_to_envoy_with_telemetry"] = first.get("glassmesh_telemetry", {})
    return document


def main() -> int:
    console = Console(width=None if sys.stdout.isatty() else 120)  # a file has room for every peer's column
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
    options.output.write_text(json.dumps(document, indent=2) + "\n")
    console.print(f"CPUs: {document['cpus_of']}. Written to {os.path.relpath(options.output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
