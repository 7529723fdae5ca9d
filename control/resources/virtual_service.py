"""VirtualService: where requests for a host go.

The types of rules are in `http_rule` and `tcp_rule`; here is what holds for the whole object.
Reference: istio.io/api networking/v1alpha3/virtual_service.proto; validation as istio's ValidateVirtualService.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator

from control.resources.http_rule import HTTPRoute
from control.resources.istio_object import IstioObject, istio_kind
from control.resources.istio_types import (
    MESH_GATEWAY,
    ExportTo,
    gateway_problems,
    host_matches,
    is_ip,
    wildcard_domain_problem,
)
from control.resources.kind import Column, FieldError, Object
from control.resources.model import Model, Problems
from control.resources.tcp_rule import TCPRoute, TLSRoute


def _check_hosts(hosts: list[str]) -> list[str]:
    problems = []
    for index, host in enumerate(hosts):
        problem = None if is_ip(host) else wildcard_domain_problem(host)
        if problem:
            problems.append(FieldError(f"[{index}]", problem))
    for index, host in enumerate(hosts if not problems else ()):
        for other in hosts[index + 1 :]:
            if host_matches(host, other) or host_matches(other, host):
                problems.append(FieldError("", f"duplicate hosts in virtual service: {host} & {other}"))
    if problems:
        raise Problems(problems)
    return hosts


def _check_gateways(gateways: list[str]) -> list[str]:
    problems = list(gateway_problems(gateways, ""))
    if problems:
        raise Problems(problems)
    return gateways


class VirtualServiceSpec(Model):
    """Hosts, where they are bound (sidecars, gateways), and the rules, first match wins."""

    hosts: Annotated[list[str], AfterValidator(_check_hosts)] | None = None
    gateways: Annotated[list[str], AfterValidator(_check_gateways)] | None = None
    http: list[HTTPRoute] | None = None
    tls: list[TLSRoute] | None = None
    tcp: list[TCPRoute] | None = None
    exportTo: ExportTo | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from self._mesh_problems() if self.hosts else self._delegate_problems()
        if not (self.http or self.tls or self.tcp):
            yield FieldError("", "http, tcp or tls must be provided in virtual service")
        yield from self._sni_problems()
        if set(self.gateways or [MESH_GATEWAY]) == {MESH_GATEWAY} and self.hosts:
            yield from self._claim_problems()

    def applies_to_mesh(self) -> bool:
        return MESH_GATEWAY in (self.gateways or [MESH_GATEWAY])

    def _mesh_problems(self) -> Iterator[FieldError]:
        for index, host in enumerate(self.hosts or []):
            if host == "*" and self.applies_to_mesh():
                why = "wildcard host * is not allowed for virtual services bound to the mesh gateway"
                yield FieldError(f"hosts[{index}]", why)

    def _delegate_problems(self) -> Iterator[FieldError]:
        if self.gateways:
            yield FieldError("gateways", "delegate virtual service must have no gateways specified")
        if self.tls:
            yield FieldError("tls", "delegate virtual service must have no tls specified")
        if self.tcp:
            yield FieldError("tcp", "delegate virtual service must have no tcp specified")
        for index, rule in enumerate(self.http or []):
            if rule.delegate is not None:
                yield FieldError(f"http[{index}].delegate", "delegate HTTP route cannot contain delegate")

    def _claim_problems(self) -> Iterator[FieldError]:
        found = " ".join(self.gateways or [])
        for i, rule in enumerate(self.http or []):
            for j, match in enumerate(rule.match or []):
                for path in match.claims():
                    why = (
                        f"JWT claim based routing (key: {path.partition('.')[2]}) is only supported for gateway, "
                        f"found no gateways: [{found}]"
                    )
                    yield FieldError(f"http[{i}].match[{j}].{path}", why)

    def _sni_problems(self) -> Iterator[FieldError]:
        hosts = self.hosts or []
        for i, rule in enumerate(self.tls or []):
            for j, match in enumerate(rule.match):
                for k, sni in enumerate(match.sniHosts):
                    if not any(host_matches(host, sni) for host in hosts):
                        yield FieldError(
                            f"tls[{i}].match[{j}].sniHosts[{k}]",
                            f"SNI host {json.dumps(sni)} is not a compatible subset of any of the virtual service hosts: "
                            f"[{', '.join(hosts)}]",
                        )


class VirtualService(IstioObject):
    """Configuration affecting traffic routing."""

    spec: VirtualServiceSpec


def _names(field: str) -> Column:
    def cell(obj: Object) -> str:
        values = (obj.get("spec") or {}).get(field)
        return json.dumps(values, separators=(",", ":")) if values else ""

    return Column(field.capitalize(), cell)


KIND = istio_kind(
    VirtualService,
    "virtualservices",
    "networking.istio.io",
    short_names=("vs",),
    columns=(_names("gateways"), _names("hosts")),
)
