"""`glassmesh exec WORKLOAD -- CMD`: runs a command as the workload's app would."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from cli.state import state_option
from node import inside, running_mesh


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("workload")
@click.argument("argv", metavar="[--] CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-c", "--container", help="Container whose files and user to take; default: the app's.")
@click.option(
    "--root", "as_root", is_flag=True, help="Run as root of the pod, for example to list its iptables rules."
)
@state_option()
def command(workload: str, argv: tuple[str, ...], container: str | None, as_root: bool, state: Path) -> None:
    """Run CMD in WORKLOAD's network and file system, as its user: what it sends is captured like the app's own.

    WORKLOAD is a Deployment or a pod, as NAME or NAMESPACE/NAME.
    """
    try:
        run = running_mesh.find(state)
        pod = running_mesh.pod(running_mesh.pods(state), workload)
        chosen = pod.container(container)
    except running_mesh.NotRunning as error:
        raise click.ClickException(str(error)) from None
    if chosen["spec"] is None:
        state_name = next(iter(chosen["state"]))
        raise click.ClickException(
            f"container {chosen['name']} of {pod.namespace}/{pod.name} is {state_name}, not running"
        )
    sys.stdout.flush()
    try:
        status = inside.run(run.pid, chosen["spec"], argv, as_root)
    except OSError as error:
        raise click.ClickException(f"cannot enter {pod.namespace}/{pod.name}: {error}") from None
    os._exit(status)  # nothing of this process but its exit status is left to tell
