"""`glassmesh logs WORKLOAD`: a container's output, from the files the node writes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from cli.state import state_option
from node import log_files, running_mesh


@click.command()
@click.argument("workload")
@click.option("-c", "--container", help="Default: the app's container; istio-proxy is the sidecar.")
@click.option("-f", "--follow", is_flag=True, help="Go on as more is written.")
@click.option("-p", "--previous", is_flag=True, help="The run before the container's last restart.")
@click.option("--tail", type=int, help="Only the last N lines.")
@state_option()
def command(
    workload: str, container: str | None, follow: bool, previous: bool, tail: int | None, state: Path
) -> None:
    """Show what WORKLOAD (a Deployment or pod, NAME or NAMESPACE/NAME) has written."""
    try:
        running_mesh.find(state)
        pod = running_mesh.pod(running_mesh.pods(state), workload)
        name = str(pod.container(container)["name"])
    except running_mesh.NotRunning as error:
        raise click.ClickException(str(error)) from None
    path = log_files.LogFiles(state / "logs").path(pod.namespace, pod.name, name, previous)
    if not path.exists():
        raise click.ClickException(
            f"container {name} of {pod.namespace}/{pod.name} has no {'previous ' * previous}log"
        )
    try:
        asyncio.run(_show(path, tail, follow))
    except KeyboardInterrupt:
        pass


async def _show(path: Path, tail: int | None, follow: bool) -> None:
    async for block in log_files.read(path, tail, follow):
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()
