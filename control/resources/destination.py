"""Destination: a host, a subset of its endpoints, a port. Shared by every rule of a VirtualService.

Validation as istio's validateDestination, validateWeights, ValidateIPSubnet, validateSniHost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network

from control.resources.istio_types import Int32, PortNumber, is_ip, wildcard_domain_problem
from control.resources.kind import FieldError
from control.resources.model import Model

_SUBSET = re.compile(r"[a-zA-Z0-9](?:[-._a-zA-Z0-9]*[a-zA-Z0-9])?")


def subset_name_problem(name: str) -> str | None:
    if not name:
        return "subset name cannot be empty"
    return None if len(name) <= 63 and _SUBSET.fullmatch(name) else f"subset name is invalid: {name}"


class PortSelector(Model):
    """A port by its number."""

    number: PortNumber


class Destination(Model):
    """A service, optionally one of its subsets and ports."""

    host: str
    subset: str | None = None
    port: PortSelector | None = None

    def problems(self) -> Iterator[FieldError]:
        host_problem = wildcard_domain_problem(self.host)
        if self.host == "*":
            yield FieldError("host", f"invalid destination host {self.host}")
        elif host_problem:
            yield FieldError("host", host_problem)
        problem = subset_name_problem(self.subset) if self.subset else None
        if problem:
            yield FieldError("subset", problem)


class RouteDestination(Model):
    """A weighted destination of a connection."""

    destination: Destination
    weight: Int32 = 0


def weight_problems(weights: list[int]) -> Iterator[FieldError]:
    """Of the destinations in `route`."""
    for index, weight in enumerate(weights):
        if weight < 0:
            yield FieldError(f"route[{index}].weight", f"weight {weight} < 0")
    if len(weights) > 1 and sum(weights) == 0:
        yield FieldError("route", "total destination weight = 0")
    if sum(weights) >= 2**32:
        yield FieldError("route", f"total destination weight {sum(weights)} is more than 4294967295")


def subnet_problems(subnets: list[str] | None, path: str) -> Iterator[FieldError]:
    for index, subnet in enumerate(subnets or []):
        if "/" not in subnet:
            if not is_ip(subnet):
                yield FieldError(f"{path}[{index}]", f"{subnet} is not a valid IP")
            continue
        try:
            ip_network(subnet, strict=False)
        except ValueError:
            yield FieldError(f"{path}[{index}]", f"{subnet} is not a valid CIDR block")


def sni_problems(hosts: list[str], path: str) -> Iterator[FieldError]:
    if not hosts:
        yield FieldError(path, "TLS match must have at least one SNI host")
    for index, host in enumerate(hosts):
        problem = None if is_ip(host) else wildcard_domain_problem(host)
        if problem:
            yield FieldError(f"{path}[{index}]", problem)


def sni_doubts(hosts: list[str], path: str) -> Iterator[FieldError]:
    for index, host in enumerate(hosts):
        if is_ip(host):
            why = f'using an IP address ("{host}") goes against SNI spec and most clients do not support this'
            yield FieldError(f"{path}[{index}]", why)
