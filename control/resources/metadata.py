"""ObjectMeta: what every object has, checked the same way for every kind.

Reference: k8s.io/apimachinery/pkg/api/validation/objectmeta.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import WithJsonSchema

from control.resources.kind import FieldError, Object, Verdict
from control.resources.model import AnyObject, MergeKey, Model, StringMap, invalid, required, schema
from control.resources.names import dns1123_label, dns1123_subdomain, label_value, qualified_name
from control.resources.validation import validator

_ANNOTATIONS_LIMIT = 256 * 1024  # bytes, keys and values together
# Ours: a pod's share of traffic beside the other pods of a service. Istio takes weights from WorkloadEntry alone.
LOAD_BALANCING_WEIGHT = "glassmesh.io/load-balancing-weight"
MAX_WEIGHT = 65535  # so that those of a locality add up to less than 2^32, or Envoy refuses them


def check_labels(labels: StringMap | None, path: str = "labels") -> list[FieldError]:
    """Errors in label keys and values; all are reported at the map, as Kubernetes does."""
    errors = []
    for key, value in (labels or {}).items():
        for text, problem in ((key, qualified_name(key)), (value, label_value(value))):
            if problem:
                errors.append(invalid(path, text, problem))
    return errors


class OwnerReference(Model):
    """The owner of an object; when every owner is gone, the object is deleted."""

    apiVersion: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    blockOwnerDeletion: bool | None = None


class ObjectMeta(Model):
    """Standard object metadata."""

    name: str | None = None
    generateName: str | None = None
    namespace: str | None = None
    labels: StringMap | None = None
    annotations: StringMap | None = None
    finalizers: Annotated[list[str] | None, MergeKey()] = None
    ownerReferences: Annotated[list[OwnerReference] | None, MergeKey("uid")] = None
    uid: str | None = None
    resourceVersion: str | None = None
    generation: int | None = None
    creationTimestamp: str | None = None
    deletionTimestamp: str | None = None
    deletionGracePeriodSeconds: int | None = None
    selfLink: str | None = None
    managedFields: list[AnyObject] | None = None

    def problems(self) -> Iterator[FieldError]:
        yield from check_labels(self.labels)
        for key in self.annotations or {}:
            problem = qualified_name(key.lower())
            if problem:
                yield invalid("annotations", key, problem)
        weight = (self.annotations or {}).get(LOAD_BALANCING_WEIGHT)
        if weight is not None and not (weight.isdecimal() and 1 <= int(weight) <= MAX_WEIGHT):
            problem = f"must be a number from 1 to {MAX_WEIGHT}"
            yield invalid(f"annotations[{LOAD_BALANCING_WEIGHT}]", weight, problem)
        if sum(len(k) + len(v) for k, v in (self.annotations or {}).items()) > _ANNOTATIONS_LIMIT:
            yield FieldError("annotations", f"Too long: may not be more than {_ANNOTATIONS_LIMIT} bytes")
        for index, finalizer in enumerate(self.finalizers or []):
            problem = qualified_name(finalizer)
            if problem:
                yield invalid(f"finalizers[{index}]", finalizer, problem)


class _Wrapped(Model):
    metadata: ObjectMeta


_validate = validator(_Wrapped)


def validate_metadata(obj: Object) -> Verdict:
    """Errors of `metadata` of an object about to be stored. Names are DNS subdomains unless a kind is stricter."""
    meta = obj.get("metadata")
    verdict = _validate({"metadata": meta})
    name = meta.get("name") if isinstance(meta, dict) else None
    if not isinstance(name, str):
        return verdict if verdict.errors else Verdict((required("metadata.name"),))
    problem = dns1123_label(name) if obj.get("kind") == "Namespace" else dns1123_subdomain(name)
    if problem:
        return Verdict((invalid("metadata.name", name, problem), *verdict.errors))
    return verdict


_META_SCHEMA = schema(ObjectMeta)


class TopLevel(Model):
    """Base of kinds; `metadata` is checked by `validate_metadata` for every kind alike."""

    apiVersion: str | None = None
    kind: str | None = None
    metadata: Annotated[AnyObject, WithJsonSchema(_META_SCHEMA)]


# Lists in metadata that are merged item by item, for every kind.
META_LIST_KEYS: dict[str, tuple[str, ...]] = {
    "metadata.finalizers": (),
    "metadata.ownerReferences": ("uid",),
}


class LabelSelectorRequirement(Model):
    """One condition on a label: In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: list[str] | None = None


class LabelSelector(Model):
    """Selects objects by their labels; every condition must hold."""

    matchLabels: StringMap | None = None
    matchExpressions: list[LabelSelectorRequirement] | None = None
