"""Destination: a host, a subset of its endpoints, a port. Shared by every rule of a VirtualService."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network

from pydantic import model_validator

from control.resources.istio_types import NotNegative, PortNumber, fqdn_problem, wildcard_domain_problem
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

    @model_validator(mode="after")
    def _named(self) -> Destination:
        return self.found(*self._problems())

    def _problems(self) -> Iterator[FieldError]:
        host_problem = fqdn_problem(self.host)
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
    weight: NotNegative = 0


def check_weights(weights: list[int], path: str) -> Iterator[FieldError]:
    if len(weights) > 1 and sum(weights) == 0:
        yield FieldError(path, "total destination weight = 0")


def check_subnets(subnets: list[str] | None, path: str) -> Iterator[FieldError]:
    for index, subnet in enumerate(subnets or []):
        try:
            ip_network(subnet, strict=False)
        except ValueError:
            yield FieldError(f"{path}[{index}]", f"{subnet} is not a valid CIDR block")


def check_sni(hosts: list[str], path: str) -> Iterator[FieldError]:
    if not hosts:
        yield FieldError(path, "TLS match must have at least one SNI host")
    for index, host in enumerate(hosts):
        problem = wildcard_domain_problem(host)
        if problem:
            yield FieldError(f"{path}[{index}]", problem)
