"""Where a command looks for the API."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.kubeconfig import kubeconfig_option


@click.command()
@kubeconfig_option
def shown(kubeconfig: Path) -> None:
    """Tells its kubeconfig."""
    click.echo(kubeconfig)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ([], ".glassmesh/kubeconfig"),
        (["--state", "/m"], "/m/kubeconfig"),
        (["--kubeconfig", "/k"], "/k"),
        (["--kubeconfig", "/k", "--state", "/m"], "/k"),
    ],
)
def test_state_or_file(arguments: list[str], found: str) -> None:
    done = CliRunner().invoke(shown, arguments)
    assert (done.exit_code, done.output.strip()) == (0, found)
