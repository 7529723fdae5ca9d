"""`glassmesh control`: the control plane alone, in the foreground.

Replaces this process with `python -m control`, whose options it takes.
"""

from __future__ import annotations

import os
import sys

import click


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run the control plane here; --help lists its options."""
    os.execv(sys.executable, [sys.executable, "-m", "control", *arguments])  # noqa: S606 - our own interpreter
