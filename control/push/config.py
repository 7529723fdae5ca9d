"""Istio objects as the compiler wants them: parsed, with short names resolved, ordered by age.

Reference: istio's pkg/config/host and model.ResolveShortnameToFQDN; exportTo as pilot/pkg/model/push_context.go.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from control.registry.service import visible
from control.resources.destination_rule import DestinationRuleSpec
from control.resources.gateway import GatewaySpec
from control.resources.istio_types import MESH_GATEWAY
from control.resources.kind import Object
from control.resources.local_rate_limit import LocalRateLimitSpec
from control.resources.peer_authentication import PeerAuthenticationSpec
from control.resources.virtual_service import VirtualServiceSpec


@dataclass(frozen=True, slots=True)
class Source:
    """Which object a piece of configuration comes from. `age` sorts the oldest first, then by name and namespace."""

    name: str
    namespace: str
    created: str

    @property
    def age(self) -> tuple[str, str, str]:
        return (self.created, self.name, self.namespace)


@dataclass(frozen=True, slots=True)
class VirtualServiceConfig:
    source: Source
    hosts: tuple[str, ...]  # FQDNs, wildcards, addresses
    gateways: frozenset[str]  # `mesh` or `namespace/name`
    export_to: frozenset[str]
    spec: VirtualServiceSpec

    def visible_from(self, namespace: str) -> bool:
        return visible(self.export_to, self.source.namespace, namespace)


@dataclass(frozen=True, slots=True)
class DestinationRuleConfig:
    """One rule, or several for the same host merged; `sources` names all of them, the first decides the policy."""

    sources: tuple[Source, ...]
    host: str
    export_to: frozenset[str]
    spec: DestinationRuleSpec

    @property
    def source(self) -> Source:
        return self.sources[0]

    def visible_from(self, namespace: str) -> bool:
        return visible(self.export_to, self.source.namespace, namespace)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    source: Source
    spec: GatewaySpec

    @property
    def key(self) -> str:
        return f"{self.source.namespace}/{self.source.name}"


@dataclass(frozen=True, slots=True)
class PeerAuthenticationConfig:
    source: Source
    spec: PeerAuthenticationSpec
    labels: Mapping[str, str] = field(default_factory=dict)  # of the selector; empty: the whole namespace


@dataclass(frozen=True, slots=True)
class LocalRateLimitConfig:
    source: Source
    spec: LocalRateLimitSpec
    labels: Mapping[str, str] = field(default_factory=dict)  # of the selector; empty: the whole namespace


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate and key (PEM) from a Secret, with the CA for its clients, empty if there is none."""

    namespace: str
    name: str
    certificate: str
    key: str
    ca: str

    def __repr__(self) -> str:
        return f"<Credential {self.namespace}/{self.name}>"


def credential(obj: Object) -> Credential | None:
    """Of a TLS Secret (`tls.crt`, `tls.key`, `ca.crt`) or a generic one (`cert`, `key`, `cacert`); None for any other."""
    data = obj.get("data") or {}

    def text(*keys: str) -> str:
        found = next((data[key] for key in keys if data.get(key)), "")
        return base64.b64decode(found).decode()

    certificate, key = text("tls.crt", "cert"), text("tls.key", "key")
    if not certificate or not key:
        return None
    meta = obj["metadata"]
    return Credential(meta["namespace"], meta["name"], certificate, key, text("ca.crt", "cacert"))


def source_of(obj: Object) -> Source:
    meta = obj["metadata"]
    return Source(meta["name"], meta["namespace"], meta.get("creationTimestamp") or "")


def resolve_host(host: str, namespace: str, domain: str) -> str:
    """A name without dots is a service of `namespace`; every other name stands for itself."""
    return host if "." in host or "*" in host else f"{host}.{namespace}.svc.{domain}"


def resolve_gateway(name: str, namespace: str) -> str:
    return name if name == MESH_GATEWAY or "/" in name else f"{namespace}/{name}"


def virtual_service(obj: Object, domain: str) -> VirtualServiceConfig:
    spec = VirtualServiceSpec.model_validate(obj["spec"])
    source = source_of(obj)
    return VirtualServiceConfig(
        source=source,
        hosts=tuple(resolve_host(host, source.namespace, domain).lower() for host in spec.hosts or ()),
        gateways=frozenset(resolve_gateway(g, source.namespace) for g in spec.gateways or (MESH_GATEWAY,)),
        export_to=frozenset(spec.exportTo or ()),
        spec=spec,
    )


def destination_rule(obj: Object, domain: str) -> DestinationRuleConfig:
    spec = DestinationRuleSpec.model_validate(obj["spec"])
    source = source_of(obj)
    host = resolve_host(spec.host, source.namespace, domain).lower()
    return DestinationRuleConfig((source,), host, frozenset(spec.exportTo or ()), spec)


def gateway(obj: Object) -> GatewayConfig:
    return GatewayConfig(source_of(obj), GatewaySpec.model_validate(obj["spec"]))


def peer_authentication(obj: Object) -> PeerAuthenticationConfig:
    spec = PeerAuthenticationSpec.model_validate(obj.get("spec") or {})
    labels = (spec.selector.matchLabels if spec.selector else None) or {}
    return PeerAuthenticationConfig(source_of(obj), spec, labels)


def local_rate_limit(obj: Object) -> LocalRateLimitConfig:
    spec = LocalRateLimitSpec.model_validate(obj["spec"])
    labels = (spec.selector.matchLabels if spec.selector else None) or {}
    return LocalRateLimitConfig(source_of(obj), spec, labels)
