"""`python -m bench.soak [--requests N]`: the command line of the soak. Exit code 1 when something grows or does not come to rest."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.children import Child, ChildDied, Children
from bench.peers.glassmesh import WITH_TELEMETRY as OURS
from bench.sidecars import ENVIRONMENT, Pair, empty_log, start_app, start_pair
from bench.soak import samples
from bench.soak.configuration import CONNECTIONS, SCENE
from bench.soak.load import Plan
from bench.soak.samples import Sample, Verdict

REST_SECONDS = 15.0
"""How long gauges may take to come to 0: idle connections close after 1 s (mesh.yaml)."""
USED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "delays": ("client", ("fault.delays_injected",)),
    "aborts": ("client", ("fault.aborts_injected",)),
    "retries": ("client", ("app.default.svc.cluster.local.upstream_rq_retry",)),
    "per-try timeouts": ("client", (".upstream_rq_per_try_timeout",)),
    "copies": ("client", ("shadow.default.svc.cluster.local.upstream_rq_total",)),
    "overflows": ("client", (".upstream_rq_pending_overflow",)),
    "ejections": ("client", (".outlier_detection.ejections_enforced_total",)),
    "failed connects": ("client", (".upstream_cx_connect_fail",)),
    "CORS requests": ("client", (".cors.origin_valid",)),
    "rate limited checks": ("server", (".http_local_rate_limit.enabled",)),
    "resets by clients": ("client", (".downstream_rq_rx_reset", ".downstream_cx_destroy_remote_active_rq")),
}
"""What shows that a feature was really on: the sidecar, and the ends of the names of its stats."""


@dataclass
class Run:
    """What was seen: samples by role, the last stats by role, and the client's answers."""

    samples: dict[str, list[Sample]] = field(default_factory=dict)
    stats: dict[str, dict[str, int]] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        return sum(self.answers.values())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=500_000, help="how many (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1200, help="at the longest (%(default)s)")
    return parser.parse_args()


def soak(children: Children, directory: Path, requests: int, seconds: float, console: Console) -> Run:
    """One run; raises ChildDied or TimeoutError."""
    pins = machine.pinning(os.sched_getaffinity(0))
    pair = start_pair(children, directory, OURS, SCENE, start_app(children, SCENE, pins), pins)
    plan = Plan(pair.port, SCENE.host, requests, seconds, CONNECTIONS)
    load = children.start(
        "load",
        [sys.executable, "-m", "bench.soak.load", json.dumps(asdict(plan))],
        cpus=pins.generator,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    run = Run({role: [] for role in pair.sidecars})
    began = time.monotonic()
    follow(load, pair, run, console)
    run.seconds = time.monotonic() - began
    children.stop(load)
    ports = {role: admin_port(directory, role) for role in pair.sidecars}
    settle(pair, ports, run)
    return run


def admin_port(directory: Path, role: str) -> int:
    document = json.loads((directory / f"{OURS.name}-{role}.json").read_text())
    return int(document["admin"]["address"]["socket_address"]["port_value"])


def follow(load: Child, pair: Pair, run: Run, console: Console) -> None:
    """Samples each time the client tells how far it is, until it is done."""
    assert load.process.stdout is not None
    with console.status("soaking") as status:
        for line in load.process.stdout:
            event = json.loads(line)
            for role, child in pair.sidecars.items():
                child.check()
                run.samples[role].append(samples.take(child.pid, event["done"]))
                empty_log(child)
            status.update(f"{event['done']} requests")
            if event["event"] == "done":
                run.answers = event["answers"]
    if not run.answers:
        raise ChildDied(f"the client ended early:\n{load.tail()}")


def settle(pair: Pair, ports: Mapping[str, int], run: Run) -> None:
    """Waits until every gauge is back at 0, or for REST_SECONDS; keeps the last stats either way."""
    end = time.monotonic() + REST_SECONDS
    while True:
        run.stats = {role: samples.stats(port) for role, port in ports.items()}
        if not any(map(samples.not_at_rest, run.stats.values())) or time.monotonic() > end:
            break
        time.sleep(0.1)
    for role, child in pair.sidecars.items():
        run.samples[role].append(samples.take(child.pid, run.done))


def memory_table(run: Run, verdicts: Mapping[str, Verdict]) -> Table:
    table = Table(title=f"{run.done} requests in {run.seconds:.0f} s")
    for name in ("sidecar", "after", "RSS KiB", "anonymous KiB", "descriptors"):
        table.add_column(name, justify="left" if name == "sidecar" else "right")
    for role, taken in run.samples.items():
        *shown, rest = [*taken[:-1][:: max(1, len(taken) // 8)], taken[-1]]
        for one in shown:
            table.add_row(role, f"{one.requests}", f"{one.rss}", f"{one.anonymous}", f"{one.fds}")
        table.add_row(role, "at rest", f"{rest.rss}", f"{rest.anonymous}", f"{rest.fds}")
        found = verdicts[role]
        word = "[green]flat[/green]" if found.flat else "[red]grows[/red]"
        table.add_row(role, word, "", f"{found.slope:+.0f} per 100,000", f"{found.fds:+d}", end_section=True)
    return table


def used(run: Run) -> dict[str, int]:
    return {name: samples.total(run.stats[role], *ends) for name, (role, ends) in USED.items()}


def report(run: Run, console: Console) -> int:
    """Prints what was found; the exit code."""
    verdicts = {role: samples.judge(taken[:-1]) for role, taken in run.samples.items()}
    console.print(memory_table(run, verdicts))
    console.print("answers   ", ", ".join(f"{name} {count}" for name, count in sorted(run.answers.items())))
    found = used(run)
    console.print("exercised ", ", ".join(f"{name} {count}" for name, count in found.items()))
    good = all(verdict.flat for verdict in verdicts.values())
    for role, stats in run.stats.items():
        for name, value in samples.not_at_rest(stats).items():
            console.print(f"[red]not at rest[/red] {role}: {name} is {value}", highlight=False)
            good = False
    for name in (name for name, count in found.items() if not count):
        console.print(f"[red]not exercised[/red] {name}", highlight=False)
        good = False
    if "nothing in 10 s" in run.answers:
        console.print("[red]a request was never answered[/red]")
        good = False
    console.print("flat" if good else "[red]not flat[/red]")
    return int(not good)


def main() -> int:
    console = Console()
    options = arguments()
    # Both end the run in order; a shell's background job starts with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="glassmesh-soak-") as directory,
            Children(Path(directory)) as children,
        ):
            run = soak(children, Path(directory), options.requests, options.seconds, console)
    except (ChildDied, TimeoutError) as error:
        console.print(f"[red]the run failed:[/red] {error}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return 130
    return report(run, console)


if __name__ == "__main__":
    sys.exit(main())
