"""`glassmesh demo`: Bookinfo in a mesh on this machine, and what happened to a request, step by step.

Every line is a fact that was measured just before it is printed; see cli/demo_steps.py for how and cli/demo_facts.py for what makes
one untrue. Ends with Ctrl-C, with `--once` by itself, and leaves nothing running either way.
"""

from __future__ import annotations

import http.client
import signal
from collections.abc import Iterator
from types import FrameType

import click
from rich.console import Console

from cli import demo_narration, demo_steps
from cli.demo_facts import Fact, Split, Started
from cli.demo_mesh import STATE, DemoFailed, RunningMesh, our_name

MANIFESTS = ("bookinfo.yaml", "bookinfo-gateway.yaml")
CANARY = ("destination-rule-all.yaml", "virtual-service-reviews-90-10.yaml")
CANARY_SHARES = {"v1": 0.9, "v2": 0.1}
REMOVED = "v3"  # answers without a route, and no more with the canary
INTERRUPTED = 130
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BEFORE, AFTER = 60, 300  # requests counted


@click.command()
@click.option("--once", is_flag=True, help="End by itself; exit status 0 only if everything told was true.")
@click.option(
    "--gateway-port",
    type=click.IntRange(0, 65535),
    help="Host port of the gateway; default: 8080, or a free one.",
)
def command(once: bool, gateway_port: int | None) -> None:
    """Start Bookinfo in a mesh, send requests, and show what happens to them."""
    for number in INTERRUPTIONS:
        signal.signal(number, _interrupt)
    console = Console()
    mesh = RunningMesh(STATE)
    status = INTERRUPTED
    try:
        status = 0 if _tell(console, mesh, gateway_port) else 1
        _close(console, mesh, once, status == 0)
    except KeyboardInterrupt:
        console.print()
    except (DemoFailed, OSError, http.client.HTTPException) as error:
        status = 1
        console.print(f"✗ {error}", style="bold red", highlight=False, markup=False)
    finally:
        _ignore_signals()
        mesh.end(keep_logs=status == 1)
    if status == 1 and STATE.exists():
        console.print(f"the logs stay in {STATE / 'logs'}", style="dim", highlight=False)
    raise SystemExit(status)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    """Ending takes a second or two, and a terminal that closes says so more than once: nothing may cut it short."""
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)


def _tell(console: Console, mesh: RunningMesh, gateway_port: int | None) -> bool:
    """Tells every fact as it is found; whether all of them are true."""
    demo_narration.title(
        console, "Glassmesh", "a service mesh you can see through: Bookinfo, on this machine alone"
    )
    with console.status("starting control plane, seven pods and their sidecars …"):
        started = mesh.up(MANIFESTS, gateway_port)
    true = True
    for fact in facts(mesh, started):
        true = demo_narration.narrate(console, fact) and true
    return true


def facts(mesh: demo_steps.Mesh, started: Started) -> Iterator[Fact]:
    """What the demo shows, in order; each fact is found when it is asked for."""
    yield started
    before = demo_steps.counters(mesh)
    yield demo_steps.page(mesh)
    yield demo_steps.caught(before, demo_steps.counters(mesh))
    captured = demo_steps.captured(mesh)
    yield captured
    yield demo_steps.hop(mesh, captured.app.payload)
    yield demo_steps.canary(mesh, CANARY, REMOVED, BEFORE)
    split: Split = demo_steps.split(mesh, CANARY_SHARES, AFTER)
    yield split


def _close(console: Console, mesh: RunningMesh, once: bool, true: bool) -> None:
    """What to try next, and the wait for Ctrl-C."""
    if once:
        demo_narration.verdict(console, true)
        return
    demo_narration.closing(console, suggestions(mesh), "Ctrl-C ends the mesh and leaves nothing behind.")
    signal.pause()


def suggestions(mesh: RunningMesh) -> list[str]:
    """Commands to try next; each works as it is printed."""
    ours, state = our_name(), mesh.state
    return [
        f"curl -s {mesh.gateway}{demo_steps.PAGE}   (or in a browser; reload to be routed again)",
        f"kubectl --kubeconfig {state / 'kubeconfig'} get pods,virtualservices",
        f"{ours} proxy-config routes productpage-v1 --state {state}",
        f"{ours} exec --state {state} --root reviews-v1 -- iptables-save -t nat",
    ]
