"""The `glassmesh` command: one file per subcommand, imported when it is called.

`COMMANDS` is the explicit list; a subcommand's module exposes a click command named `command`.
"""

from __future__ import annotations

import importlib

import click

COMMANDS = {
    "up": "cli.up",
    "down": "cli.down",
    "status": "cli.status",
    "demo": "cli.demo",
    "exec": "cli.exec",
    "logs": "cli.logs",
    "kubectl": "cli.kubectl",
    "apply": "cli.apply",
    "get": "cli.get",
    "describe": "cli.describe",
    "delete": "cli.delete",
    "analyze": "cli.analyze",
    "proxy-status": "cli.proxy_status",
    "proxy-config": "cli.proxy_config",
    "route": "cli.route",
    "control": "cli.control",
    "sidecar": "cli.sidecar",
    "agent": "cli.agent",
}


class LazyGroup(click.Group):
    """Imports a subcommand only when it is asked for, so that `glassmesh --help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = importlib.import_module(module).command
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="glassmesh")
def main() -> None:
    """A service mesh you can see through."""
