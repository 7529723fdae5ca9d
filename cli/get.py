"""`glassmesh get`: what `kubectl get` does, where kubectl is not installed. The server makes the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import yaml

from cli.client import TABLE, ApiFailure, Client, Object
from cli.columns import headings, line, print_table, rows, widths
from cli.kubeconfig import kubeconfig_option, load
from cli.selection import Selected, scope, select


class _Dumper(yaml.CSafeDumper):
    """YAML as kubectl writes it: double quotes where a string would be read as something else, `|` for many lines."""


def _string(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    if "\n" in text:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    # `!`, `&` and `*` alone have a tag of their own in PyYAML; they need quotes only to be read, which the emitter adds.
    looks_like = dumper.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    quoted = not text or looks_like not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:yaml")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if quoted else None)


_Dumper.add_representer(str, _string)


@click.command(name="get")
@click.argument("what", nargs=-1)
@click.option("-n", "--namespace", help="Look in this namespace.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Look in every namespace.")
@click.option("-l", "--selector", default="", help="Only objects with these labels.")
@click.option("--field-selector", default="", help="Only objects with these fields, as status.phase=Running.")
@click.option("-w", "--watch", is_flag=True, help="Go on printing what changes.")
@click.option(
    "-o", "--output", type=click.Choice(["wide", "yaml", "json", "name"]), help="Form of the output."
)
@click.option("--no-headers", is_flag=True, help="Print no headings.")
@kubeconfig_option
def command(
    what: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    selector: str,
    field_selector: str,
    watch: bool,
    output: str | None,
    no_headers: bool,
    kubeconfig: Path,
) -> None:
    """Print objects: KIND, KIND NAME… or KIND/NAME…."""
    access = load(kubeconfig)
    client = Client(access)
    chosen = select(client, what)
    within = scope(access.namespace, namespace, all_namespaces)
    query = {
        key: value for key, value in (("labelSelector", selector), ("fieldSelector", field_selector)) if value
    }
    try:
        if output in ("yaml", "json", "name"):
            found = _objects(client, chosen, within, query)
            single = len(found) == 1 and any(one.names for one in chosen)
            _print_objects(client, found, output, single)
        elif watch:
            _watch(client, chosen[0], within, query, output == "wide")
        else:
            _print_tables(client, chosen, within, query, output == "wide", no_headers)
    except ApiFailure as exc:
        click.echo("\n".join(exc.lines()), err=True)
        raise SystemExit(1) from exc
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _objects(
    client: Client, chosen: list[Selected], namespace: str | None, query: dict[str, str]
) -> list[Object]:
    found: list[Object] = []
    for resource, names in chosen:
        if names:
            found += [client.get(resource.path(namespace, name)) for name in names]
            continue
        listed = client.get(resource.path(namespace), query)
        kind = {"apiVersion": listed["apiVersion"], "kind": resource.kind}
        found += [{**kind, **item} for item in listed["items"]]
    return found


def _print_objects(client: Client, found: list[Object], output: str, single: bool) -> None:
    if output == "name":
        for obj in found:
            resource = client.of_object(obj)
            click.echo(f"{resource.named if resource else obj['kind']}/{obj['metadata']['name']}")
        return
    for obj in found:
        obj["metadata"].pop("managedFields", None)
    whole: Any = (
        found[0]
        if single
        else {"apiVersion": "v1", "items": found, "kind": "List", "metadata": {"resourceVersion": ""}}
    )
    if output == "json":
        click.echo(json.dumps(whole, indent=4, sort_keys=True, ensure_ascii=False))
    else:
        click.echo(yaml.dump(whole, Dumper=_Dumper, allow_unicode=True, default_flow_style=False), nl=False)


def _table(client: Client, one: Selected, namespace: str | None, query: dict[str, str]) -> Object:
    """One Table of everything one kind contributes."""
    if not one.names:
        return client.get(one.resource.path(namespace), query, accept=TABLE)
    tables = [client.get(one.resource.path(namespace, name), accept=TABLE) for name in one.names]
    return {**tables[0], "rows": [row for table in tables for row in table["rows"]]}


def _print_tables(
    client: Client,
    chosen: list[Selected],
    namespace: str | None,
    query: dict[str, str],
    wide: bool,
    no_headers: bool,
) -> None:
    tables = [(one, _table(client, one, namespace, query)) for one in chosen]
    tables = [(one, table) for one, table in tables if table["rows"]]
    if not tables:
        click.echo("No resources found" + (f" in {namespace} namespace." if namespace else ""), err=True)
    for index, (one, table) in enumerate(tables):
        everywhere = namespace is None and one.resource.namespaced
        body = rows(table, table["columnDefinitions"], wide, everywhere)
        if len(chosen) > 1:
            for cells in body:
                cells[int(everywhere)] = f"{one.resource.named}/{cells[int(everywhere)]}"
        if index:
            click.echo()
        if no_headers:
            for cells in body:
                click.echo(line(cells, widths(body)))
        else:
            print_table(headings(table, wide, everywhere), body)


def _watch(client: Client, one: Selected, namespace: str | None, query: dict[str, str], wide: bool) -> None:
    if one.names:
        query = {**query, "fieldSelector": f"metadata.name={one.names[0]}"}
    path, everywhere = one.resource.path(namespace), namespace is None and one.resource.namespaced
    table = client.get(path, query, accept=TABLE)
    definitions = table["columnDefinitions"]
    sizes = print_table(headings(table, wide, everywhere), rows(table, definitions, wide, everywhere))
    since = {"resourceVersion": table["metadata"]["resourceVersion"]}
    for event in client.watch(path, {**query, **since}, TABLE):
        if event["type"] == "ERROR":
            raise ApiFailure(event["object"])
        for cells in rows(event["object"], definitions, wide, everywhere):
            click.echo(line(cells, sizes))
