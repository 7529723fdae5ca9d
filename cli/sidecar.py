"""`glassmesh sidecar`: one sidecar in the foreground, as an injected container runs it.

Replaces this process with `python -m proxy`, so that no command-line library stays in the sidecar's memory.
"""

from __future__ import annotations

import os
import sys

import click


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> None:
    """Run a sidecar here, configured by environment (or -c FILE, an Envoy bootstrap)."""
    if not arguments or arguments[0].startswith("-l"):
        arguments = ("sidecar", *arguments)
    os.execv(sys.executable, [sys.executable, "-m", "proxy", *arguments])  # noqa: S606 - our own interpreter
