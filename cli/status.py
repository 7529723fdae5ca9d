"""`glassmesh status`: every pod of the mesh, its sidecar, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.columns import line, widths
from cli.state import state_option
from node import running_mesh
from node.running_mesh import SIDECAR, Pod

HEADINGS = ["NAMESPACE", "POD", "READY", "SIDECAR", "STATUS", "RESTARTS", "IP", "MEMORY"]
MEBIBYTE = 2**20


@click.command()
@state_option()
def command(state: Path) -> None:
    """Show what runs."""
    try:
        run = running_mesh.find(state)
        answer = running_mesh.ask(state, "/pods")
    except running_mesh.NotRunning as error:
        raise click.ClickException(str(error)) from None
    pods = [Pod(document) for document in answer["pods"]]
    lines = [HEADINGS, *(row(pod) for pod in sorted(pods, key=lambda pod: (pod.namespace, pod.name)))]
    sizes = widths(lines)
    for cells in lines:
        click.echo(line(cells, sizes))
    own = answer["memory"]
    total = sum(memory(pod) for pod in pods) + sum(own.values())
    click.echo(
        f"\ncontrol plane {own['control'] // MEBIBYTE} MiB, node {own['node'] // MEBIBYTE} MiB, "
        f"all {total // MEBIBYTE} MiB; gateway http://127.0.0.1:{run.gateway_port}, API 127.0.0.1:{run.api_port}"
    )


def row(pod: Pod) -> list[str]:
    """One pod as a line of the table."""
    regular = [each for each in pod.containers if not each["init"]]
    ready = sum(each["ready"] for each in regular)
    restarts = sum(each["restarts"] for each in regular)
    size = f"{memory(pod) // MEBIBYTE} MiB"
    shown = [
        f"{ready}/{len(regular)}",
        sidecar(pod),
        condition(pod),
        str(restarts),
        str(pod.document["ip"]),
        size,
    ]
    return [pod.namespace, pod.name, *shown]


def memory(pod: Pod) -> int:
    """Resident bytes of all its containers."""
    return sum(int(each["memory"]) for each in pod.containers)


def sidecar(pod: Pod) -> str:
    if not any(each["name"] == SIDECAR for each in pod.containers):
        return "-"
    return str(pod.document["annotations"].get("glassmesh.io/proxy", "glassmesh"))


def condition(pod: Pod) -> str:
    """The most telling state of its containers."""
    for each in pod.containers:
        state: dict[str, Any] = each["state"]
        if waiting := state.get("waiting"):
            return str(waiting["reason"])
        if (ended := state.get("terminated")) and (ended["exitCode"] or not each["init"]):
            return str(ended["reason"])
    return "Running"
