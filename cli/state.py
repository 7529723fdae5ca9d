"""`--state`: the directory of the mesh a command is about. Spelled once, the same in every command."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from node.running_mesh import DEFAULT_STATE

state_option = partial(
    click.option,
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_STATE,
    show_default=True,
    help="The directory of the mesh.",
)
