"""Where our sidecar's time goes: `python -m bench.profile [--role client|server]`.

One run under load with the profiler (calls and time per request and function), one with `strace -c` (system calls per
request), if strace is there. Times under the profiler are inflated, most of all for small functions; the calls are exact.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pstats
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.children import Children, wait_until
from bench.peers import glassmesh
from bench.runner import generate
from bench.sidecars import Pair, start_app, start_pair
from bench.workloads.http import SATURATION
from bench.workloads.workload import Workload

PROFILED = dataclasses.replace(
    glassmesh.PEER, command=lambda file: [sys.executable, "-m", "bench.profiled", "-c", str(file)]
)
WORKLOAD = dataclasses.replace(SATURATION, seconds=4.0, warmup=0.5)


def profile(
    children: Children, pair: Pair, workload: Workload, pins: machine.Pinning, role: str, out: Path
) -> int:
    """Runs the load with the profiler on; returns how many requests that were."""
    pid = pair.sidecars[role].pid
    os.kill(pid, signal.SIGUSR1)
    result = generate(children, pair, workload, pins).result
    os.kill(pid, signal.SIGUSR2)
    wait_until("the profile is written", out.exists, [pair.sidecars[role]])
    return int(result["requests"] + result["warmup_requests"])


def show_profile(console: Console, out: Path, requests: int, rows: int) -> None:
    # typeshed has no type for the attribute that holds the figures.
    stats = pstats.Stats(str(out)).stats  # type: ignore[attr-defined]
    total_calls = sum(entry[0] for entry in stats.values())
    total_time = sum(entry[2] for entry in stats.values())
    console.print(
        f"{total_calls / requests:.1f} calls and {total_time * 1e6 / requests:.1f} µs a request, profiled"
    )
    table = Table("calls/request", "own µs/request", "with callees", "function", title_justify="left")
    for (file, line, name), (calls, _, own, cumulative, _) in sorted(
        stats.items(), key=lambda item: item[1][2], reverse=True
    )[:rows]:
        where = f"{os.path.relpath(file)}:{line} {name}" if line else name
        per = (calls / requests, own * 1e6 / requests, cumulative * 1e6 / requests)
        table.add_row(*(f"{value:.2f}" for value in per), where)
    console.print(table)


def show_system_calls(
    console: Console, children: Children, pair: Pair, workload: Workload, pins: machine.Pinning, role: str
) -> None:
    """Counts system calls of one sidecar during a run of the load."""
    pid = pair.sidecars[role].pid
    tracer = children.start("strace", ["strace", "-c", "-f", "-p", str(pid)], stdout=subprocess.DEVNULL)
    wait_until("strace is attached", lambda: "attached" in tracer.tail(), [tracer])
    result = generate(children, pair, workload, pins).result
    tracer.process.send_signal(signal.SIGINT)
    tracer.process.wait()
    requests = result["requests"] + result["warmup_requests"]
    table = Table("calls/request", "system call")
    for line in tracer.output.read_text().splitlines():
        columns = line.split()
        if len(columns) >= 5 and columns[3].isdigit() and columns[-1] != "total":
            count = int(columns[3]) / requests
            if count >= 0.01:
                table.add_row(f"{count:.2f}", columns[-1])
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--role", choices=("client", "server"), default="client")
    parser.add_argument("--rows", type=int, default=40)
    options = parser.parse_args()
    console = Console(width=150)
    workload = WORKLOAD
    pins = machine.pinning(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="glassmesh-profile-") as place:
        out = Path(place) / "profile"
        os.environ["PROFILE_OUT"] = str(out)
        with Children(Path(place)) as children:
            app_port = start_app(children, workload.scene, pins)
            pair = start_pair(children, Path(place), PROFILED, workload.scene, app_port, pins)
            requests = profile(children, pair, workload, pins, options.role, out)
            show_profile(console, out, requests, options.rows)
            if shutil.which("strace"):
                show_system_calls(console, children, pair, workload, pins, options.role)
    return 0


if __name__ == "__main__":
    sys.exit(main())
