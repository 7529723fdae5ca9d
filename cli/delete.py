"""`glassmesh delete`: what `kubectl delete` does, where kubectl is not installed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from cli.client import ApiFailure, Client, Resource
from cli.kubeconfig import kubeconfig_option, load
from cli.manifest import BadManifest, read
from cli.selection import scope, select

_POLL_SECONDS = 0.1


class _Target(NamedTuple):
    resource: Resource
    namespace: str | None
    name: str


@click.command(name="delete")
@click.argument("what", nargs=-1)
@click.option("-f", "--filename", "filenames", multiple=True, help="Delete what these manifests name.")
@click.option("-n", "--namespace", help="Look in this namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look in every namespace.")
@click.option("-l", "--selector", default="", help="Only objects with these labels.")
@click.option("--all", "everything", is_flag=True, help="Every object of the kind.")
@click.option("--grace-period", type=int, help="Seconds a Pod gets to end; its own setting when not given.")
@click.option("--force", is_flag=True, help="Do not wait for the node to confirm.")
@click.option("--ignore-not-found", is_flag=True, help="What is gone already is no error.")
@click.option("--wait/--no-wait", default=True, help="Return when the objects are gone.")
@kubeconfig_option
def command(
    what: tuple[str, ...],
    filenames: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    selector: str,
    everything: bool,
    grace_period: int | None,
    force: bool,
    ignore_not_found: bool,
    wait: bool,
    kubeconfig: Path,
) -> None:
    """Delete objects: KIND NAME…, KIND/NAME…, KIND -l SELECTOR, KIND --all or -f FILE."""
    access = load(kubeconfig)
    client = Client(access)
    within = scope(access.namespace, namespace, all_namespaces)
    if not filenames and len(what) == 1 and "/" not in what[0] and not selector and not everything:
        raise click.UsageError("name the objects, or give --all or --selector")
    try:
        targets = list(_of_files(client, filenames, namespace or access.namespace))
        targets += _of_arguments(client, what, within, selector) if what else []
    except (ApiFailure, BadManifest) as exc:
        raise click.ClickException(str(exc)) from exc
    options: dict[str, object] = {"propagationPolicy": "Background"}
    if force or grace_period is not None:
        options["gracePeriodSeconds"] = 0 if force else grace_period
    deleted = [_delete(client, target, options, ignore_not_found) for target in targets]
    if wait:
        for target, uid in zip(targets, deleted, strict=True):
            if uid:
                _wait(client, target, uid)
    if None in deleted:
        raise SystemExit(1)


def _of_files(client: Client, filenames: tuple[str, ...], namespace: str) -> Iterator[_Target]:
    for document in read(filenames):
        resource = client.of_object(document.object)
        if resource is None:
            kind, version = document.object.get("kind"), document.object.get("apiVersion")
            raise BadManifest(f'{document.where}: no matches for kind "{kind}" in version "{version}"')
        meta = document.object.get("metadata") or {}
        yield _Target(resource, meta.get("namespace") or namespace, str(meta.get("name")))


def _of_arguments(
    client: Client, what: tuple[str, ...], namespace: str | None, selector: str
) -> Iterator[_Target]:
    query = {"labelSelector": selector} if selector else {}
    for resource, names in select(client, what):
        if names:
            yield from (_Target(resource, namespace, name) for name in names)
            continue
        for item in client.get(resource.path(namespace), query)["items"]:
            yield _Target(resource, item["metadata"].get("namespace"), item["metadata"]["name"])


def _delete(
    client: Client, target: _Target, options: dict[str, object], ignore_not_found: bool
) -> str | None:
    """Delete one object; its uid, "" when it was gone already, None when refused."""
    resource, namespace, name = target
    try:
        _, answer = client.request("DELETE", resource.path(namespace, name), body=options)
    except ApiFailure as exc:
        if exc.reason == "NotFound" and ignore_not_found:
            return ""
        click.echo("\n".join(exc.lines()), err=True)
        return None
    forced = "force " if options.get("gracePeriodSeconds") == 0 else ""
    click.echo(f'{resource.named} "{name}" {forced}deleted')
    return str((answer.get("details") or {}).get("uid") or (answer.get("metadata") or {}).get("uid") or "")


def _wait(client: Client, target: _Target, uid: str) -> None:
    """Return when the object with this uid is gone."""
    path = target.resource.path(target.namespace, target.name)
    while True:
        try:
            if client.get(path)["metadata"]["uid"] != uid:
                return
        except ApiFailure as exc:
            if exc.reason == "NotFound":
                return
            raise click.ClickException(str(exc)) from exc
        time.sleep(_POLL_SECONDS)
