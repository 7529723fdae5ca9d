"""Where the API of the mesh is, and how to prove who we are: the kubeconfig `glassmesh up` writes.

`$KUBECONFIG` is ignored on purpose: it may name a real cluster, and our commands speak to the mesh in this directory.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import click
import yaml

from cli.state import state_option

_STATE = "glassmesh.state"
Decorated = TypeVar("Decorated", bound=Callable[..., object])


def _remember(context: click.Context, _: click.Parameter, state: Path) -> None:
    context.meta[_STATE] = state


def _of_state(context: click.Context, _: click.Parameter, given: Path | None) -> Path:
    return given if given is not None else context.meta[_STATE] / "kubeconfig"


def kubeconfig_option(command: Decorated) -> Decorated:
    """Adds `--kubeconfig`, which the command gets, and `--state`, whose kubeconfig it is by default."""
    command = click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=_of_state,
        help="The file that says where the API is, where it is not that of the mesh.",
    )(command)
    return state_option(callback=_remember, expose_value=False, is_eager=True)(command)


class Access(NamedTuple):
    """The API's URL, the root certificate to trust (PEM), the bearer token, and the namespace when none is named."""

    server: str
    root_certificate: str
    token: str
    namespace: str


def _named(document: dict[str, list[dict[str, dict[str, str]]]], part: str, name: object) -> dict[str, str]:
    for entry in document[part]:
        if entry["name"] == name:
            return entry[part.removesuffix("s")]
    raise KeyError(f"{part}: {name}")


def load(path: Path) -> Access:
    """Read a kubeconfig. Raises click.ClickException, saying what to do, when there is none."""
    try:
        document = yaml.load(path.read_text(), yaml.CSafeLoader)
        context = _named(document, "contexts", document["current-context"])
        cluster = _named(document, "clusters", context["cluster"])
        user = _named(document, "users", context["user"])
        root = base64.b64decode(cluster["certificate-authority-data"]).decode()
        return Access(cluster["server"], root, user["token"], context.get("namespace") or "default")
    except FileNotFoundError:
        raise click.ClickException(
            f"no mesh here: {path} does not exist. Start one with `glassmesh up`."
        ) from None
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as exc:
        raise click.ClickException(f"{path} is no kubeconfig of a mesh: {exc}") from exc
