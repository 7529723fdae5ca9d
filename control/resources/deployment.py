"""Deployment and ReplicaSet: how many Pods of which template. The node is their controller.

Reference: k8s.io/api/apps/v1/types.go, pkg/apis/apps/v1/defaults.go, pkg/apis/apps/validation/validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from control.resources.kind import Column, FieldError, Kind, Object, Verdict
from control.resources.metadata import META_LIST_KEYS, LabelSelector, TopLevel
from control.resources.model import (
    INERT,
    AnyObject,
    IntOrString,
    Model,
    defaulter,
    invalid,
    list_keys,
    merge_keys,
    schema,
)
from control.resources.names import NotNegative
from control.resources.pod_spec import PodTemplateSpec
from control.resources.selectors import matches_label_selector
from control.resources.validation import validator


class RollingUpdate(Model):
    """How many Pods may be missing or in excess during an update."""

    maxUnavailable: IntOrString = "25%"
    maxSurge: IntOrString = "25%"


class DeploymentStrategy(Model):
    """How old Pods are replaced by new ones."""

    type: Literal["RollingUpdate", "Recreate"] = "RollingUpdate"
    rollingUpdate: RollingUpdate | None = None

    @model_validator(mode="after")
    def _defaults(self) -> DeploymentStrategy:
        if self.type == "RollingUpdate" and self.rollingUpdate is None:
            self.rollingUpdate = RollingUpdate()
        return self

    def problems(self) -> Iterator[FieldError]:
        if self.type == "Recreate" and self.rollingUpdate is not None:
            why = "Forbidden: may not be specified when strategy `type` is 'Recreate'"
            yield FieldError("rollingUpdate", why, "FieldValueForbidden")


class ReplicaSetSpec(Model):
    """The Pods that should exist."""

    replicas: NotNegative = 1
    selector: LabelSelector
    template: PodTemplateSpec
    minReadySeconds: NotNegative | None = None

    def problems(self) -> Iterator[FieldError]:
        labels = self.template.metadata.labels or {}
        if not self.selector.matchLabels and not self.selector.matchExpressions:
            yield invalid("selector", {}, "empty selector is invalid for deployment")
        elif not matches_label_selector(self.selector.model_dump(exclude_none=True), labels):
            yield invalid("template.metadata.labels", labels, "`selector` does not match template `labels`")
        if self.template.spec.restartPolicy != "Always":
            value = self.template.spec.restartPolicy
            why = f'Unsupported value: "{value}": supported values: "Always"'
            yield FieldError("template.spec.restartPolicy", why, "FieldValueNotSupported")


class DeploymentSpec(ReplicaSetSpec):
    """The Pods that should exist, and how to get there from others."""

    strategy: DeploymentStrategy = DeploymentStrategy()
    revisionHistoryLimit: NotNegative = 10
    progressDeadlineSeconds: Annotated[NotNegative, INERT] = 600
    paused: bool | None = None


class Deployment(TopLevel):
    """A Deployment keeps a number of equal Pods running and rolls out changes of their template."""

    spec: DeploymentSpec
    status: AnyObject = Field(default={})


class ReplicaSet(TopLevel):
    """A ReplicaSet keeps a number of equal Pods running; a Deployment makes one for each template."""

    spec: ReplicaSetSpec
    status: AnyObject = Field(default={"replicas": 0})


def _status(obj: Object, field: str) -> int:
    return int(obj.get("status", {}).get(field) or 0)


def _containers(obj: Object) -> list[Object]:
    found: list[Object] = obj["spec"]["template"]["spec"]["containers"]
    return found


def _selector(obj: Object) -> str:
    selector = obj["spec"]["selector"]
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for term in selector.get("matchExpressions") or []:
        parts.append(f"{term['key']} {term['operator'].lower()} ({','.join(term.get('values') or [])})")
    return ",".join(parts)


def _keep_selector(old: Object, new: Object) -> Verdict:
    if old["spec"]["selector"] == new["spec"]["selector"]:
        return Verdict()
    return Verdict((invalid("spec.selector", new["spec"]["selector"], "field is immutable"),))


_WIDE = (
    Column("Containers", lambda o: ",".join(c["name"] for c in _containers(o)), wide=True),
    Column("Images", lambda o: ",".join(c.get("image", "") for c in _containers(o)), wide=True),
    Column("Selector", _selector, wide=True),
)
_DEPLOYMENT_KEYS = META_LIST_KEYS | list_keys(Deployment) | {"status.conditions": ("type",)}
_REPLICA_SET_KEYS = META_LIST_KEYS | list_keys(ReplicaSet) | {"status.conditions": ("type",)}

KIND = Kind(
    group="apps",
    versions=("v1",),
    kind="Deployment",
    plural="deployments",
    short_names=("deploy",),
    categories=("all",),
    has_status=True,
    subresources=("scale",),
    columns=(
        Column("Ready", lambda o: f"{_status(o, 'readyReplicas')}/{o['spec']['replicas']}"),
        Column("Up-to-date", lambda o: _status(o, "updatedReplicas"), "integer"),
        Column("Available", lambda o: _status(o, "availableReplicas"), "integer"),
        *_WIDE,
    ),
    schema=schema(Deployment),
    default=defaulter(Deployment),
    validate=validator(Deployment),
    validate_update=_keep_selector,
    merge_keys=merge_keys(_DEPLOYMENT_KEYS),
    list_map_keys=_DEPLOYMENT_KEYS,
)

REPLICA_SET = Kind(
    group="apps",
    versions=("v1",),
    kind="ReplicaSet",
    plural="replicasets",
    short_names=("rs",),
    categories=("all",),
    has_status=True,
    subresources=("scale",),
    columns=(
        Column("Desired", lambda o: o["spec"]["replicas"], "integer"),
        Column("Current", lambda o: _status(o, "replicas"), "integer"),
        Column("Ready", lambda o: _status(o, "readyReplicas"), "integer"),
        *_WIDE,
    ),
    schema=schema(ReplicaSet),
    default=defaulter(ReplicaSet),
    validate=validator(ReplicaSet),
    validate_update=_keep_selector,
    merge_keys=merge_keys(_REPLICA_SET_KEYS),
    list_map_keys=_REPLICA_SET_KEYS,
)
