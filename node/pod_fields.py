"""The downward API: what a pod may learn about itself, as text.

Pure: from the pod object and what the node decided about it to values. A path nobody knows raises `UnknownField`, which
becomes the container's CreateContainerConfigError. Reference: Kubernetes, "Downward API" and pkg/fieldpath.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from node.api_client import Object

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_SUFFIX = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40,
}  # fmt: skip


class UnknownField(ValueError):
    """A field, key or resource that is not there; the text says which."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What the node adds to a pod: addresses, its own name, and what a container may use without a limit."""

    pod_ip: str
    host_ip: str
    node_name: str
    cpus: int
    memory: int  # bytes


def field_value(pod: Object, path: str, placement: Placement) -> str:
    """The text of `fieldRef.fieldPath`. Raises UnknownField."""
    metadata, spec = pod["metadata"], pod["spec"]
    if subscript := _SUBSCRIPT.fullmatch(path):
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        return _lines(metadata.get(path.partition(".")[2]) or {})
    simple = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata.get("namespace", ""),
        "metadata.uid": metadata.get("uid", ""),
        "spec.nodeName": placement.node_name,
        "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
        "status.hostIP": placement.host_ip,
        "status.hostIPs": placement.host_ip,
        "status.podIP": placement.pod_ip,
        "status.podIPs": placement.pod_ip,
    }
    if path not in simple:
        raise UnknownField(f"unsupported fieldPath: {path}")
    return str(simple[path])


def resource_value(pod: Object, reference: dict[str, Any], own: str, placement: Placement) -> str:
    """The text of a `resourceFieldRef` such as `limits.cpu`, in units of its divisor, rounded up."""
    name = reference.get("containerName") or own
    everyone = [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or [])]
    container: dict[str, Any] = next((each for each in everyone if each["name"] == name), {})
    kind, _, resource = reference["resource"].partition(".")
    if kind not in ("limits", "requests") or resource not in ("cpu", "memory", "ephemeral-storage"):
        raise UnknownField(f"unsupported container resource: {reference['resource']}")
    given = ((container.get("resources") or {}).get(kind) or {}).get(resource)
    value = quantity(str(given)) if given is not None else _default(kind, resource, placement)
    divisor = quantity(str(reference.get("divisor") or "1")) or 1.0
    return str(math.ceil(value / divisor - 1e-9))


def _default(kind: str, resource: str, placement: Placement) -> float:
    """A container without a limit may use the machine; without a request it asks for nothing."""
    if kind == "requests":
        return 0.0
    return float({"cpu": placement.cpus, "memory": placement.memory}.get(resource, 0))


def quantity(text: str) -> float:
    """A Kubernetes quantity such as `500m` or `1Gi`. Raises UnknownField."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise UnknownField(f"not a quantity: {text!r}")
    return float(match[1]) * _SUFFIX[match[2] or ""]


def _lines(items: dict[str, str]) -> str:
    """Labels or annotations as a downward file has them: `key="value"` lines, sorted."""
    return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(items.items()))
