"""`glassmesh apply`: what `kubectl apply` does, where kubectl is not installed.

Server-side apply with force, so what a manifest says holds, whoever said something else before.
"""

from __future__ import annotations

from pathlib import Path

import click

from cli.client import APPLY, ApiFailure, Client
from cli.kubeconfig import kubeconfig_option, load
from cli.manifest import BadManifest, Document, read

_MANAGER = "glassmesh"


@click.command(name="apply")
@click.option(
    "-f",
    "--filename",
    "filenames",
    multiple=True,
    required=True,
    help="File, directory, or - for standard input.",
)
@click.option("-n", "--namespace", help="Namespace of objects that name none.")
@click.option(
    "--dry-run", type=click.Choice(["none", "server"]), default="none", help="server: check, change nothing."
)
@kubeconfig_option
def command(filenames: tuple[str, ...], namespace: str | None, dry_run: str, kubeconfig: Path) -> None:
    """Create or change objects so that they are as the manifests say."""
    access = load(kubeconfig)
    client = Client(access)
    try:
        documents = list(read(filenames))
    except BadManifest as exc:
        raise click.ClickException(str(exc)) from exc
    if not documents:
        raise click.ClickException("no objects passed to apply")
    failed = [
        document
        for document in documents
        if not _apply(client, document, namespace or access.namespace, dry_run)
    ]
    if failed:
        raise SystemExit(1)


def _apply(client: Client, document: Document, namespace: str, dry_run: str) -> bool:
    """Apply one document and say what happened; False when it was refused."""
    obj = document.object
    meta = obj.get("metadata")
    name = meta.get("name") if isinstance(meta, dict) else None
    resource = client.of_object(obj)
    if resource is None or not isinstance(name, str):
        what = (
            "metadata.name: Required value"
            if resource
            else (f'no matches for kind "{obj.get("kind")}" in version "{obj.get("apiVersion")}"')
        )
        click.secho(f"error: {document.where}: {what}", err=True, fg="red")
        return False
    path = resource.path((meta or {}).get("namespace") or namespace, name)
    query = {"fieldManager": _MANAGER, "force": "true", "fieldValidation": "Strict"}
    if dry_run == "server":
        query["dryRun"] = "All"
    try:
        before = _version(client, path)
        code, after = client.request("PATCH", path, query, obj, content_type=APPLY)
    except ApiFailure as exc:
        click.secho(f"{document.where}:", err=True, fg="red")
        click.echo("\n".join(exc.lines()), err=True)
        return False
    same = before is not None and after["metadata"].get("resourceVersion") == before
    outcome = "created" if code == 201 else "unchanged" if same else "configured"
    suffix = " (server dry run)" if dry_run == "server" else ""
    click.echo(f"{resource.named}/{name} {outcome}{suffix}")
    return True


def _version(client: Client, path: str) -> str | None:
    try:
        return str(client.get(path)["metadata"]["resourceVersion"])
    except ApiFailure as exc:
        if exc.reason == "NotFound":
            return None
        raise
