"""`glassmesh agent`: the agent beside a real Envoy, in the foreground.

Replaces this process with `python -m proxy agent`, so that no command-line library stays in its memory.
"""

from __future__ import annotations

import os
import sys

import click


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run a real Envoy here as the pod's sidecar, configured by environment."""
    os.execv(sys.executable, [sys.executable, "-m", "proxy", "agent", *arguments])  # noqa: S606 - our own interpreter
