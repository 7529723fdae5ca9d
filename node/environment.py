"""The environment, command line and user of a container.

Pure. `$(NAME)` is replaced by variables defined earlier, `$$(NAME)` is a literal `$(NAME)`, and a name nobody defined stays as it is.
Reference: k8s.io/kubernetes/third_party/forked/golang/expansion, kubelet's makeEnvironmentVariables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from node.api_client import Object
from node.images import Program
from node.pod_fields import Placement, UnknownField, field_value, resource_value

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))")

# Finds the data of a ConfigMap or Secret by kind and name; None when there is none.
Lookup = Callable[[str, str], Mapping[str, str] | None]


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replaces `$(NAME)` references."""

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        return known.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def variables(
    pod: Object, container: Object, base: Mapping[str, str], placement: Placement, lookup: Lookup
) -> dict[str, str]:
    """The environment of a container on top of `base`. Raises UnknownField."""
    env = dict(base)
    for source in container.get("envFrom") or []:
        for name, value in _whole_map(source, lookup).items():
            env[(source.get("prefix") or "") + name] = value
    for variable in container.get("env") or []:
        if (origin := variable.get("valueFrom")) is None:
            env[variable["name"]] = expand(variable.get("value") or "", env)
            continue
        found = _from(origin, pod, container, placement, lookup)
        if found is not None:
            env[variable["name"]] = found
    return env


def _from(
    origin: Mapping[str, Any], pod: Object, container: Object, placement: Placement, lookup: Lookup
) -> str | None:
    if reference := origin.get("fieldRef"):
        return field_value(pod, reference["fieldPath"], placement)
    if reference := origin.get("resourceFieldRef"):
        return resource_value(pod, reference, container["name"], placement)
    for field, kind in (("configMapKeyRef", "configmap"), ("secretKeyRef", "secret")):
        if reference := origin.get(field):
            return _key(reference, kind, lookup)
    raise UnknownField("valueFrom names no source")


def _key(reference: Mapping[str, Any], kind: str, lookup: Lookup) -> str | None:
    data = lookup(kind, reference["name"])
    if data is not None and reference["key"] in data:
        return data[reference["key"]]
    if reference.get("optional"):
        return None
    if data is None:
        raise UnknownField(f'{kind} "{reference["name"]}" not found')
    raise UnknownField(f"couldn't find key {reference['key']} in {kind} {reference['name']}")


def _whole_map(source: Mapping[str, Any], lookup: Lookup) -> Mapping[str, str]:
    for field, kind in (("configMapRef", "configmap"), ("secretRef", "secret")):
        if reference := source.get(field):
            data = lookup(kind, reference["name"])
            if data is None and not reference.get("optional"):
                raise UnknownField(f'{kind} "{reference["name"]}" not found')
            return data or {}
    return {}


def command_line(program: Program, env: Mapping[str, str]) -> list[str]:
    return [expand(part, env) for part in program.argv]


def user(pod: Object, container: Object, program: Program) -> tuple[int, int, list[int]]:
    """uid, gid and further groups: the container's security context, then the pod's, then the image's user."""
    of_pod = pod["spec"].get("securityContext") or {}
    of_container = container.get("securityContext") or {}
    uid = _first(of_container.get("runAsUser"), of_pod.get("runAsUser"), program.uid)
    gid = _first(
        of_container.get("runAsGroup"), of_pod.get("runAsGroup"), uid if uid in (0, program.uid) else 0
    )
    groups = list(of_pod.get("supplementalGroups") or [])
    if of_pod.get("fsGroup") is not None:
        groups.append(of_pod["fsGroup"])
    return uid, gid, groups


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def first_port(container: Object) -> int | None:
    ports: Sequence[Mapping[str, Any]] = container.get("ports") or []
    return int(ports[0]["containerPort"]) if ports else None
