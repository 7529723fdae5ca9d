"""A proxy that asks for configuration, from the `node` of its request.

Reference: Envoy core.v3.Node; istio's pkg/model/proxy.go (`TYPE~IP~POD.NAMESPACE~DOMAIN`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from control.registry.locality import NOWHERE, Locality


class BadNode(ValueError):
    """The node of a request does not say who asks."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Who asks. `vanilla`: a real Envoy, which lacks Istio's extensions."""

    id: str
    kind: Literal["sidecar", "router"]
    ip: str
    name: str
    namespace: str
    labels: Mapping[str, str]
    service_account: str
    vanilla: bool
    metadata: Mapping[str, Any]
    locality: Locality = NOWHERE

    def __repr__(self) -> str:
        return f"<Proxy {self.kind} {self.name}.{self.namespace} {self.ip}{' envoy' if self.vanilla else ''}>"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def parse_node(node: object) -> Proxy:
    """Raises BadNode when the id has not Istio's form."""
    if not isinstance(node, dict):
        raise BadNode("node is missing")
    identity = _text(node.get("id"))
    parts = identity.split("~")
    if len(parts) != 4 or parts[0] not in ("sidecar", "router"):
        raise BadNode(f"node id {identity!r} is not TYPE~IP~POD.NAMESPACE~DOMAIN with TYPE sidecar or router")
    metadata = node.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    name, _, namespace = parts[2].rpartition(".")
    labels = metadata.get("LABELS")
    return Proxy(
        id=identity,
        kind=cast(Literal["sidecar", "router"], parts[0]),
        ip=parts[1],
        name=name or parts[2],
        namespace=_text(metadata.get("NAMESPACE")) or namespace,
        labels={str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
        service_account=_text(metadata.get("SERVICE_ACCOUNT")) or "default",
        vanilla=node.get("user_agent_name") == "envoy",
        metadata=metadata,
        locality=_locality(node.get("locality")),
    )


def _locality(said: object) -> Locality:
    """`node.locality`, where the proxy was told; normally its workload is asked."""
    if not isinstance(said, dict):
        return NOWHERE
    return Locality(*(_text(said.get(part)) for part in ("region", "zone", "sub_zone")))
