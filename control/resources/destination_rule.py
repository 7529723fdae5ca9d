"""DestinationRule: how the mesh talks to a service, and its subsets.

The traffic policy's types are in `traffic_policy`. Reference: istio.io/api networking/v1alpha3/destination_rule.proto;
validation as istio's ValidateDestinationRule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, model_validator

from control.resources.destination import subset_name_problem
from control.resources.istio_types import (
    ExportTo,
    IstioObject,
    WorkloadSelector,
    duplicates,
    istio_kind,
    wildcard_domain_problem,
)
from control.resources.kind import Column, FieldError, Object
from control.resources.model import Model
from control.resources.names import label_value, qualified_name
from control.resources.traffic_policy import TrafficPolicy


class Subset(Model):
    """A named part of a service's endpoints."""

    name: str
    labels: dict[str, str] | None = None
    trafficPolicy: TrafficPolicy | None = None

    @model_validator(mode="after")
    def _valid(self) -> Subset:
        return self.found(*self._problems())

    def _problems(self) -> Iterator[FieldError]:
        problem = subset_name_problem(self.name)
        if problem:
            yield FieldError("name", problem)
        for key, value in (self.labels or {}).items():
            if qualified_name(key):
                yield FieldError("labels", f"invalid tag key: {json.dumps(key)}")
            if label_value(value):
                yield FieldError("labels", f"invalid tag value: {json.dumps(value)}")


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

    @model_validator(mode="after")
    def _valid(self) -> DestinationRuleSpec:
        names = duplicates([subset.name for subset in self.subsets or []])
        return self.found(*(FieldError("subsets", f"duplicate subset names: {name}") for name in names))


class DestinationRule(IstioObject):
    """Defines policies that apply to traffic intended for a service after routing has occurred."""

    spec: DestinationRuleSpec


def _host(obj: Object) -> str:
    return str((obj.get("spec") or {}).get("host") or "")


KIND = istio_kind(
    DestinationRule,
    "destinationrules",
    "networking.istio.io",
    short_names=("dr",),
    columns=(Column("Host", _host),),
)
