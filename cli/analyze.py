"""`glassmesh analyze`: what is wrong with the mesh's configuration, or would be with some manifests, as `istioctl analyze`.

Exit code 79 when something is as bad as the failure threshold, 65 when a file cannot be read. What each code means is in
docs/analyze.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import yaml

from cli.analysis_input import Input, read_manifests, read_mesh, with_manifests
from cli.client import Client
from cli.kubeconfig import kubeconfig_option, load
from cli.manifest import BadManifest
from control.analysis import ANALYZERS
from control.analysis.message import Level, Message
from control.analysis.run import analyze
from control.resources import destination_rule, gateway, virtual_service

_FOUND = 79  # istioctl's exit code
_COLORS = {Level.Error: "red", Level.Warning: "yellow", Level.Info: None}
_LEVELS = click.Choice([level.name for level in Level], case_sensitive=False)
_DOCUMENTATION = "https://istio.io/latest/docs/reference/config/analysis"
# Without a mesh, nothing is said of kinds the manifests have none of: they may be there already.
_OWN_KINDS = (virtual_service.KIND, destination_rule.KIND, gateway.KIND)


class BadFile(click.ClickException):
    """A file that is no manifest."""

    exit_code = 65  # as istioctl's


@click.command(name="analyze")
@click.argument("files", nargs=-1)
@click.option("-f", "--filename", "filenames", multiple=True, help="As FILES. - is standard input.")
@click.option("-n", "--namespace", help="What to tell of, and the namespace of manifests that name none.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Tell of every namespace.")
@click.option("-k", "--use-kube", type=bool, default=True, show_default=True, help="Look at the mesh too.")
@click.option("-R", "--recursive", is_flag=True, help="Look into directories inside directories.")
@click.option("-o", "--output", type=click.Choice(["log", "json", "yaml"]), default="log", show_default=True)
@click.option(
    "--failure-threshold", type=_LEVELS, default="Error", show_default=True, help=f"Exit with {_FOUND}."
)
@click.option(
    "--output-threshold", type=_LEVELS, default="Info", show_default=True, help="Tell what is as bad."
)
@click.option(
    "-S",
    "--suppress",
    multiple=True,
    metavar="CODE=RESOURCE",
    help='As "IST0102=Namespace dev"; * is any text.',
)
@click.option("-L", "--list-analyzers", is_flag=True, help="Tell what is looked for, and end.")
@kubeconfig_option
@click.pass_context
def command(
    context: click.Context,
    files: tuple[str, ...],
    filenames: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    use_kube: bool,
    recursive: bool,
    output: str,
    failure_threshold: str,
    output_threshold: str,
    suppress: tuple[str, ...],
    list_analyzers: bool,
    kubeconfig: Path,
) -> None:
    """Find what is wrong with the mesh's configuration.

    FILES and directories of manifests are looked at as if they were applied.
    """
    if list_analyzers:
        click.echo("\n".join(f"* {a.name}: {a.description}" for a in ANALYZERS))
        return
    access = load(kubeconfig) if use_kube else None
    place = namespace or (access.namespace if access else "default")
    found = _input((*files, *filenames), Client(access) if access else None, place, recursive)
    for what in found.unknown:
        click.secho(f"Not analyzed, this kind is not known here: {what}", err=True, dim=True)
    said = [
        message
        for message in analyze(found.objects, domain="cluster.local", root_namespace="istio-system").messages
        if all_namespaces or place == (message.namespace or message.name)
    ]
    said = [message for message in said if not any(_suppresses(rule, message) for rule in suppress)]
    shown = [message for message in said if message.type.level >= Level[output_threshold.capitalize()]]
    _print(shown, found, output, "all namespaces" if all_namespaces else f"namespace: {place}")
    if any(message.type.level >= Level[failure_threshold.capitalize()] for message in said):
        context.exit(_FOUND)


def _input(paths: tuple[str, ...], client: Client | None, namespace: str, recursive: bool) -> Input:
    if not paths and client is None:
        raise click.UsageError("nothing to analyze: no files, and not the mesh")
    try:
        manifests = read_manifests(paths, namespace, recursive)
    except BadManifest as exc:
        raise BadFile(f"{exc}\nSome files couldn't be parsed.") from exc
    if client is not None:
        return with_manifests(read_mesh(client), manifests)
    for kind in _OWN_KINDS:
        manifests.objects.setdefault(kind.resource, [])
    return manifests


def _suppresses(rule: str, message: Message) -> bool:
    """`IST0101=VirtualService default/*`; istioctl's form `VirtualService name.namespace` is understood too."""
    code, _, resource = rule.partition("=")
    kind, _, _ = message.resource.partition(" ")
    names = (message.resource, f"{kind} {message.name}.{message.namespace}")
    return code == message.type.code and any(_like(resource, name) for name in names)


def _like(pattern: str, text: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    if not text.startswith(first):
        return False
    text = text[len(first) :]
    for part in rest[:-1]:
        _, found, text = text.partition(part)
        if part and not found:
            return False
    return text.endswith(rest[-1])


def _print(messages: list[Message], found: Input, output: str, target: str) -> None:
    if output != "log":
        items = [_as_data(message, found.reference(message)) for message in messages]
        text = (
            yaml.safe_dump(items, sort_keys=False, allow_unicode=True)
            if output == "yaml"
            else json.dumps(items, indent=4)
        )
        click.echo(text.rstrip("\n"))
        return
    for message in messages:
        level = message.type.level
        line = message.line(found.reference(message))
        click.echo(click.style(level.name, fg=_COLORS[level]) + line.removeprefix(level.name))
    if not messages:
        click.echo(click.style("✔", fg="green") + f" No validation issues found when analyzing {target}.")
        return
    errors = [message for message in messages if message.type.level is Level.Error]
    if errors:
        click.secho(f"Error: Analyzers found issues when analyzing {target}.", err=True)
        click.secho("See docs/analyze.md for what each code means and what to do about it.", err=True)


def _as_data(message: Message, reference: str) -> dict[str, Any]:
    data = {
        "code": message.type.code,
        "level": message.type.level.name,
        "message": message.text,
        "origin": message.resource,
        "path": message.path,
    }
    if reference:
        data["reference"] = reference
    if message.type.code.startswith("IST"):
        data["documentationUrl"] = f"{_DOCUMENTATION}/{message.type.code.lower()}/"
    return data
