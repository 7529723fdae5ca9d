"""Which objects a command means: `KIND`, `KIND NAME…`, `KIND/NAME…`, in which namespace."""

from __future__ import annotations

from typing import NamedTuple

import click

from cli.client import Client, Resource


class Selected(NamedTuple):
    """A kind, and the names of its objects that are meant; no names mean all of them."""

    resource: Resource
    names: tuple[str, ...]


def select(client: Client, arguments: tuple[str, ...]) -> list[Selected]:
    """What the arguments mean, in their order. Raises click.UsageError."""
    if not arguments:
        raise click.UsageError('You must specify the type of resource, for example "pods".')
    if any("/" in argument for argument in arguments):
        found = []
        for argument in arguments:
            kind, slash, name = argument.partition("/")
            if not slash or not name:
                raise click.UsageError(
                    "there is no need to specify a resource type as a separate argument when passing arguments in "
                    "resource/name form"
                )
            found.append(Selected(client.meant(kind)[0], (name,)))
        return found
    return [Selected(resource, arguments[1:]) for resource in client.meant(arguments[0])]


def scope(client_namespace: str, namespace: str | None, all_namespaces: bool) -> str | None:
    """The namespace to look in; None means all."""
    return None if all_namespaces else namespace or client_namespace
