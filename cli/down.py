"""`glassmesh down`: ends the mesh of a state directory, however it is left."""

from __future__ import annotations

from pathlib import Path

import click

from cli.state import state_option
from node import run_state, teardown


@click.command()
@state_option()
def command(state: Path) -> None:
    """End the mesh. Also after a crash, and when nothing runs; what was applied stays in the state directory."""
    run = run_state.read(state)
    running = teardown.handle(run) if run else None
    if running is None:
        left = teardown.forget(state)
        said = (
            f"the mesh had already ended; removed {', '.join(left)}" if left else f"no mesh runs with {state}"
        )
        click.echo(said)
        return
    try:
        in_order = teardown.end(running)
    except teardown.CannotEnd as error:
        raise click.ClickException(str(error)) from None
    finally:
        running.close()
    teardown.forget(state)
    how = "ended" if in_order else "did not end in time and was killed"
    assert run is not None
    click.echo(f"the mesh (pid {run.pid}) {how}; its processes, namespaces, links and rules are gone")
