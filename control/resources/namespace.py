"""Namespace: where names are unique, and what is injected. Deleting one deletes all that is in it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from control.resources.kind import Column, Kind
from control.resources.metadata import META_LIST_KEYS, TopLevel
from control.resources.model import AnyObject, MergeKey, Model, defaulter, merge_keys, schema
from control.resources.validation import validator

FINALIZER = "kubernetes"
NAME_LABEL = "kubernetes.io/metadata.name"  # lets a selector choose a Namespace by name


class NamespaceSpec(Model):
    """What must be done before the Namespace is gone."""

    finalizers: Annotated[list[str], MergeKey()] = Field(default=[FINALIZER])


class Namespace(TopLevel):
    """A Namespace holds objects whose names are unique within it."""

    spec: NamespaceSpec = NamespaceSpec()
    status: AnyObject = Field(default={"phase": "Active"})

    @model_validator(mode="after")
    def _named_by_label(self) -> Namespace:
        labels = self.metadata.get("labels") or {}
        if isinstance(labels, dict):
            named = {**labels, NAME_LABEL: self.metadata.get("name")}
            self.metadata = {**self.metadata, "labels": named}
        return self


KIND = Kind(
    group="",
    versions=("v1",),
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    short_names=("ns",),
    has_status=True,
    columns=(Column("Status", lambda o: o.get("status", {}).get("phase", "Active")),),
    schema=schema(Namespace),
    default=defaulter(Namespace),
    validate=validator(Namespace),
    merge_keys=merge_keys(META_LIST_KEYS),
    list_map_keys=META_LIST_KEYS,
)
