"""`glassmesh proxy-status`: which proxies are connected, and whether they took what they were sent."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cli.client import ApiFailure, Client
from cli.columns import print_table
from cli.kubeconfig import kubeconfig_option, load
from cli.proxy_tables import status_headings, status_rows


@click.command(name="proxy-status")
@click.option("-v", "--verbose", is_flag=True, help="A column for each type of configuration.")
@kubeconfig_option
def command(verbose: bool, kubeconfig: Path) -> None:
    """Show the proxies the control plane configures."""
    try:
        proxies: Any = Client(load(kubeconfig)).get("/debug/syncz")  # a list of objects
    except ApiFailure as error:
        raise click.ClickException(str(error)) from error
    if not proxies:
        click.echo("No proxy is connected.", err=True)
        return
    print_table(status_headings(verbose), status_rows(proxies, verbose, datetime.now(UTC)))
    for proxy in proxies:
        for name in ("cluster", "listener", "route", "endpoint"):
            if proxy.get(f"{name}_error"):
                click.secho(f"{proxy['proxy']}: {proxy[f'{name}_error']}", fg="red", err=True)
                break
