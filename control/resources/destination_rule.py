"""DestinationRule: how the mesh talks to a service, and its subsets.

The traffic policy's types are in `traffic_policy`. Reference: istio.io/api networking/v1alpha3/destination_rule.proto;
validation as istio's ValidateDestinationRule.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator

from control.resources.destination import subset_name_problem
from control.resources.istio_object import IstioObject, istio_kind
from control.resources.istio_types import (
    ExportTo,
    WorkloadSelector,
    duplicates,
    label_problems,
    wildcard_domain_problem,
)
from control.resources.kind import Column, FieldError, Object
from control.resources.model import Model
from control.resources.traffic_policy import TrafficPolicy


class Subset(Model):
    """A named part of a service's endpoints."""

    name: str
    labels: dict[str, str] | None = None
    trafficPolicy: TrafficPolicy | None = None

    def problems(self) -> Iterator[FieldError]:
        problem = subset_name_problem(self.name)
        if problem:
            yield FieldError("name", problem)
        yield from label_problems(self.labels, "labels")


def _check_host(host: str) -> str:
    problem = wildcard_domain_problem(host)
    if problem:
        raise ValueError(problem)
    return host


class DestinationRuleSpec(Model):
    """Policies for traffic to a host, applied after routing."""

    host: Annotated[str, AfterValidator(_check_host)]
    trafficPolicy: TrafficPolicy | None = None
    subsets: list[Subset] | None = None
    exportTo: ExportTo | None = None
    workloadSelector: WorkloadSelector | None = None

    def problems(self) -> Iterator[FieldError]:
        for name in duplicates([subset.name for subset in self.subsets or []]):
            yield FieldError("subsets", f"duplicate subset names: {name}")


class DestinationRule(IstioObject):
    """Defines policies that apply to traffic intended for a service after routing has occurred."""

    spec: DestinationRuleSpec

    def problems(self) -> Iterator[FieldError]:
        yield from super().problems()
        own = (".", self.metadata.get("namespace"))
        export_to = self.spec.exportTo or [] if self.spec.workloadSelector else []
        if any(place not in own for place in export_to):
            why = "destination rule with workload selector cannot have exportTo beyond current namespace"
            yield FieldError("spec.exportTo", why)


def _host(obj: Object) -> str:
    return str((obj.get("spec") or {}).get("host") or "")


KIND = istio_kind(
    DestinationRule,
    "destinationrules",
    "networking.istio.io",
    short_names=("dr",),
    columns=(Column("Host", _host),),
)
