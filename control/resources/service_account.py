"""ServiceAccount: the identity of a workload; its name is in the SPIFFE ID."""

from __future__ import annotations

from typing import Annotated

from control.resources.kind import Column, Kind, Object
from control.resources.metadata import META_LIST_KEYS, TopLevel
from control.resources.model import INERT, AnyObject, MergeKey, defaulter, list_keys, merge_keys, schema
from control.resources.pod_spec import LocalReference
from control.resources.validation import validator


class ServiceAccount(TopLevel):
    """A ServiceAccount is the identity under which Pods run."""

    automountServiceAccountToken: bool | None = None
    imagePullSecrets: Annotated[list[LocalReference] | None, INERT] = None
    secrets: Annotated[list[AnyObject] | None, MergeKey("name")] = None


def default_of(namespace: str) -> Object:
    """The account of Pods that name none; every Namespace has it from the start."""
    meta = {"name": "default", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


_KEYS = META_LIST_KEYS | list_keys(ServiceAccount)

KIND = Kind(
    group="",
    versions=("v1",),
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    subresources=("token",),
    columns=(Column("Secrets", lambda o: len(o.get("secrets") or [])),),
    schema=schema(ServiceAccount),
    default=defaulter(ServiceAccount),
    validate=validator(ServiceAccount),
    merge_keys=merge_keys(_KEYS),
    list_map_keys=_KEYS,
)
