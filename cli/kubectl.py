"""`glassmesh kubectl …`: kubectl with the kubeconfig of the mesh in this directory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from cli.kubeconfig import load
from cli.state import state_option

_OURS = ("apply", "get", "describe", "delete", "logs")


@click.command(
    name="kubectl",
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": [],
    },
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@state_option()
def command(arguments: tuple[str, ...], state: Path) -> None:
    """Run kubectl against the mesh. `--state` goes before kubectl's own arguments."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise click.ClickException(_advice(arguments))
    kubeconfig = state.absolute() / "kubeconfig"
    load(kubeconfig)  # says what is missing better than kubectl would
    os.execv(kubectl, [kubectl, "--kubeconfig", str(kubeconfig), *arguments])  # noqa: S606


def _advice(arguments: tuple[str, ...]) -> str:
    """What to run instead."""
    asked = arguments[0] if arguments else ""
    if asked in _OURS:
        return f"kubectl is not installed; `glassmesh {' '.join(arguments)}` does the same."
    names = ", ".join(f"`glassmesh {name}`" for name in _OURS)
    return f"kubectl is not installed; {names} do the same. For `kubectl {asked}`, install kubectl."
