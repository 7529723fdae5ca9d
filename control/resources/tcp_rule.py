"""The `tls` and `tcp` rules of a VirtualService: opaque connections, by SNI or by where they were going.

Validation as istio's validateTLSRoute, validateTLSMatch, validateTCPRoute, validateTCPMatch.
"""

from __future__ import annotations

from collections.abc import Iterator

from control.resources.destination import (
    RouteDestination,
    sni_doubts,
    sni_problems,
    subnet_problems,
    weight_problems,
)
from control.resources.istio_types import PortNumber, gateway_problems, label_problems, namespace_problem
from control.resources.kind import FieldError
from control.resources.model import Model


class _Match(Model):
    destinationSubnets: list[str] | None = None
    port: PortNumber | None = None
    sourceLabels: dict[str, str] | None = None
    gateways: list[str] | None = None
    sourceNamespace: str | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from subnet_problems(self.destinationSubnets, "destinationSubnets")
        yield from label_problems(self.sourceLabels, "sourceLabels")
        yield from gateway_problems(self.gateways, "gateways")
        if namespace_problem(self.sourceNamespace):
            yield FieldError("sourceNamespace", f"sourceNamespace match is invalid: {self.sourceNamespace}")


class TLSMatchAttributes(_Match):
    """Conditions on a TLS connection; all must hold."""

    sniHosts: list[str]

    def problems(self) -> Iterator[FieldError]:
        yield from sni_problems(self.sniHosts, "sniHosts")
        yield from super().problems()

    def doubts(self) -> Iterator[FieldError]:
        yield from sni_doubts(self.sniHosts, "sniHosts")


class L4MatchAttributes(_Match):
    """Conditions on a TCP connection; all must hold."""

    sourceSubnet: str | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from super().problems()
        for error in subnet_problems([self.sourceSubnet] if self.sourceSubnet else None, ""):
            yield FieldError("sourceSubnet", error.message)


def _route_problems(route: list[RouteDestination] | None, kind: str) -> Iterator[FieldError]:
    if not route:
        yield FieldError("route", f"{kind} route is required")
    yield from weight_problems([entry.weight for entry in route or []])


class TLSRoute(Model):
    """Where TLS connections with these names go."""

    match: list[TLSMatchAttributes]
    route: list[RouteDestination] | None = None

    def problems(self) -> Iterator[FieldError]:
        if not self.match:
            yield FieldError("match", "TLS route must have at least one match condition")
        yield from _route_problems(self.route, "TLS")


class TCPRoute(Model):
    """Where TCP connections go."""

    match: list[L4MatchAttributes] | None = None
    route: list[RouteDestination] | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from _route_problems(self.route, "TCP")
