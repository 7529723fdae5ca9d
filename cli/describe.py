"""`glassmesh describe`: an object and its events, every field by name, as kubectl describes kinds it does not know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from cli.client import TABLE, ApiFailure, Client, Object, Resource
from cli.columns import line, widths
from cli.kubeconfig import kubeconfig_option, load
from cli.selection import scope, select

_HIDDEN = ("managedFields", "selfLink", "name", "namespace", "labels", "annotations")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_INDENT = "  "


@click.command(name="describe")
@click.argument("what", nargs=-1)
@click.option("-n", "--namespace", help="Look in this namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look in every namespace.")
@click.option("-l", "--selector", default="", help="Only objects with these labels.")
@kubeconfig_option
def command(
    what: tuple[str, ...], namespace: str | None, all_namespaces: bool, selector: str, kubeconfig: Path
) -> None:
    """Print objects in full, with their events: KIND, KIND NAME… or KIND/NAME…."""
    access = load(kubeconfig)
    client = Client(access)
    within = scope(access.namespace, namespace, all_namespaces)
    query = {"labelSelector": selector} if selector else {}
    found: list[tuple[Resource, Object]] = []
    try:
        for resource, names in select(client, what):
            if names:
                found += [(resource, obj) for name in names for obj in _named(client, resource, within, name)]
            else:
                listed = client.get(resource.path(within), query)
                kind = {"apiVersion": listed["apiVersion"], "kind": resource.kind}
                found += [(resource, {**kind, **item}) for item in listed["items"]]
        for index, (_, obj) in enumerate(found):
            if index:
                click.echo("\n")
            click.echo("\n".join([*described(obj), *_events(client, obj)]))
    except ApiFailure as exc:
        click.echo("\n".join(exc.lines()), err=True)
        raise SystemExit(1) from exc
    if not found:
        click.echo("No resources found" + (f" in {within} namespace." if within else ""), err=True)


def _named(client: Client, resource: Resource, namespace: str | None, name: str) -> list[Object]:
    """The object of that name; where there is none, as with kubectl, all whose names begin so. Raises ApiFailure."""
    try:
        return [client.get(resource.path(namespace, name))]
    except ApiFailure as exc:
        if exc.reason != "NotFound":
            raise
        listed = client.get(resource.path(namespace))
        kind = {"apiVersion": listed["apiVersion"], "kind": resource.kind}
        found = [{**kind, **item} for item in listed["items"] if item["metadata"]["name"].startswith(name)]
        if not found:
            raise
        return found


def described(obj: Object) -> list[str]:
    """Every field of an object, one line each, sections indented."""
    meta = obj["metadata"]
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k != _LAST_APPLIED}
    head = [("Name:", [meta["name"]])]
    if meta.get("namespace"):
        head.append(("Namespace:", [meta["namespace"]]))
    head.append(
        ("Labels:", [f"{k}={v}" for k, v in sorted((meta.get("labels") or {}).items())] or ["<none>"])
    )
    head.append(("Annotations:", [f"{k}: {v}" for k, v in sorted(annotations.items())] or ["<none>"]))
    head += [("API Version:", [obj["apiVersion"]]), ("Kind:", [obj["kind"]])]
    size = max(len(title) for title, _ in head) + 2
    lines = [
        f"{(title if index == 0 else '').ljust(size)}{value}"
        for title, values in head
        for index, value in enumerate(values)
    ]
    rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
    shown_meta = {key: value for key, value in meta.items() if key not in _HIDDEN}
    return lines + _section({"metadata": shown_meta, **rest}, "")


def _title(key: str) -> str:
    """`creationTimestamp` as `Creation Timestamp`; a key that is no field name stays as it is."""
    if key == "uid":
        return "UID"
    if not re.fullmatch(r"[A-Za-z0-9]+", key):
        return key
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z](?!s\b)[a-z])", " ", key)
    return words[0].upper() + words[1:]


def _section(fields: dict[str, Any], indent: str) -> list[str]:
    lines: list[str] = []
    simple = {k: v for k, v in fields.items() if not isinstance(v, dict | list)}
    size = max((len(_title(key)) for key in simple), default=0) + 3
    for key, value in sorted(fields.items()):
        title = f"{indent}{_title(key)}:"
        if isinstance(value, dict):
            lines += [title, *_section(value, indent + _INDENT)]
        elif isinstance(value, list):
            lines.append(title)
            for item in value:
                nested = isinstance(item, dict)
                lines += _section(item, indent + _INDENT) if nested else [f"{indent}{_INDENT}{item}"]
        else:
            lines.append(title.ljust(len(indent) + size) + _text(value))
    return lines


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _events(client: Client, obj: Object) -> list[str]:
    """The object's events, as kubectl prints them below a description."""
    meta = obj["metadata"]
    fields = f"involvedObject.name={meta['name']},involvedObject.uid={meta['uid']}"
    events = client.meant("events")[0]
    namespace = meta.get("namespace") or "default"
    table = client.get(events.path(namespace), {"fieldSelector": fields}, accept=TABLE)
    if not table["rows"]:
        return ["Events:  <none>"]
    names = [column["name"] for column in table["columnDefinitions"]]
    places = [names.index(name) for name in ("Type", "Reason", "Last Seen", "Source", "Message")]
    body = [[str(row["cells"][place]) for place in places] for row in table["rows"]]
    titles = ["Type", "Reason", "Age", "From", "Message"]
    lines = [titles, ["-" * len(title) for title in titles], *body]
    return ["Events:", *(_INDENT + line(cells, widths(lines)) for cells in lines)]
