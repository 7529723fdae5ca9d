"""How commands name a workload: a pod or a Deployment, as NAME, NAME.NAMESPACE, NAMESPACE/NAME or KIND/NAME[.NAMESPACE]."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import click

_KINDS = ("pod", "pods", "po", "deployment", "deployments", "deploy", "deployment.apps")


def named(workload: str, namespace: str) -> tuple[str, str]:
    """Name and namespace; `namespace` where the word has none."""
    kind, slash, rest = workload.partition("/")
    if slash and kind.lower() not in _KINDS:
        return rest, kind
    word = rest if slash else workload
    name, dot, where = word.partition(".")
    return (name, where) if dot else (word, namespace)


def pod_of(name: str, namespace: str, known: Iterable[str], what: str) -> str:
    """Of the pods known (as POD.NAMESPACE) the one of that name, else the first of a Deployment of that name.

    Raises click.ClickException, with names that are near; `what` tells what `known` are.
    """
    pods = sorted(known)
    if f"{name}.{namespace}" in pods:
        return name
    same = [pod for pod in pods if pod.startswith(f"{name}-") and pod.endswith(f".{namespace}")]
    if same:
        return same[0].partition(".")[0]
    near = difflib.get_close_matches(f"{name}.{namespace}", pods, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(pods) or 'none'}"
    raise click.ClickException(f"no {what} is {namespace}/{name}; {hint}")
