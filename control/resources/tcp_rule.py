"""The `tls` and `tcp` rules of a VirtualService: opaque connections, by SNI or by where they were going."""

from __future__ import annotations

from pydantic import model_validator

from control.resources.destination import RouteDestination, check_sni, check_subnets, check_weights
from control.resources.istio_types import PortNumber
from control.resources.kind import FieldError
from control.resources.model import Model


class TLSMatchAttributes(Model):
    """Conditions on a TLS connection; all must hold."""

    sniHosts: list[str]
    destinationSubnets: list[str] | None = None
    port: PortNumber | None = None
    sourceLabels: dict[str, str] | None = None
    gateways: list[str] | None = None
    sourceNamespace: str | None = None

    @model_validator(mode="after")
    def _valid(self) -> TLSMatchAttributes:
        subnets = check_subnets(self.destinationSubnets, "destinationSubnets")
        return self.found(*check_sni(self.sniHosts, "sniHosts"), *subnets)


class L4MatchAttributes(Model):
    """Conditions on a TCP connection; all must hold."""

    destinationSubnets: list[str] | None = None
    port: PortNumber | None = None
    sourceLabels: dict[str, str] | None = None
    gateways: list[str] | None = None
    sourceNamespace: str | None = None
    sourceSubnet: str | None = None

    @model_validator(mode="after")
    def _valid(self) -> L4MatchAttributes:
        return self.found(*check_subnets(self.destinationSubnets, "destinationSubnets"))


def _check_route(route: list[RouteDestination] | None, kind: str) -> list[FieldError]:
    missing = [] if route else [FieldError("route", f"{kind} route is required")]
    return [*missing, *check_weights([entry.weight for entry in route or []], "route")]


class TLSRoute(Model):
    """Where TLS connections with these names go."""

    match: list[TLSMatchAttributes]
    route: list[RouteDestination] | None = None

    @model_validator(mode="after")
    def _valid(self) -> TLSRoute:
        missing = (
            [] if self.match else [FieldError("match", "TLS route must have at least one match condition")]
        )
        return self.found(*missing, *_check_route(self.route, "TLS"))


class TCPRoute(Model):
    """Where TCP connections go."""

    match: list[L4MatchAttributes] | None = None
    route: list[RouteDestination] | None = None

    @model_validator(mode="after")
    def _valid(self) -> TCPRoute:
        return self.found(*_check_route(self.route, "TCP"))
