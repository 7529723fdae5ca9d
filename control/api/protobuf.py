"""Kubernetes' protobuf request bodies, as plain JSON objects.

kubectl since 1.32 sends what its typed commands make (`create namespace`, `create deployment`, `create token`,
`auth can-i` …) only in protobuf, with no way back to JSON. This reads those types; answers are always JSON.
Decides nothing. Invariant: what it cannot read whole it refuses, naming the message and the field number.
Reference: k8s.io/apimachinery/pkg/runtime/serializer/protobuf/doc.go; the generated.proto files of k8s.io/api.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from control.resources.kind import Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"

# Message: `NUMBER NAME TYPE` for each field. `[]` repeated, `{}` a map from strings, `?` kept when zero (a pointer in Go).
_MESSAGES_TEXT = {
    "Namespace": "1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status NamespaceStatus",
    "NamespaceSpec": "1 finalizers []string",
    "NamespaceStatus": "1 phase string",
    "ConfigMap": "1 metadata ObjectMeta, 2 data {}string, 3 binaryData {}bytes, 4 immutable bool?",
    "Secret": "1 metadata ObjectMeta, 2 data {}bytes, 3 type string, 4 stringData {}string, 5 immutable bool?",
    "ServiceAccount": "1 metadata ObjectMeta, 2 secrets []ObjectReference, 3 imagePullSecrets []LocalObjectReference, "
    "4 automountServiceAccountToken bool?",
    "Service": "1 metadata ObjectMeta, 2 spec ServiceSpec, 3 status ServiceStatus",
    "ServiceSpec": "1 ports []ServicePort, 2 selector {}string, 3 clusterIP string, 4 type string, 5 externalIPs []string, "
    "7 sessionAffinity string, 8 loadBalancerIP string, 9 loadBalancerSourceRanges []string, 10 externalName string, "
    "11 externalTrafficPolicy string, 12 healthCheckNodePort int, 13 publishNotReadyAddresses bool, "
    "17 ipFamilyPolicy string, 18 clusterIPs []string, 19 ipFamilies []string, 20 allocateLoadBalancerNodePorts bool?, "
    "21 loadBalancerClass string, 22 internalTrafficPolicy string, 23 trafficDistribution string",
    "ServicePort": "1 name string, 2 protocol string, 3 port int, 4 targetPort IntOrString, 5 nodePort int, 6 appProtocol string",
    "ServiceStatus": "1 loadBalancer Empty",
    "Deployment": "1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 status DeploymentStatus",
    "DeploymentSpec": "1 replicas int?, 2 selector LabelSelector, 3 template PodTemplateSpec, 4 strategy DeploymentStrategy, "
    "5 minReadySeconds int, 6 revisionHistoryLimit int?, 7 paused bool, 9 progressDeadlineSeconds int?",
    "DeploymentStrategy": "1 type string, 2 rollingUpdate RollingUpdateDeployment",
    "RollingUpdateDeployment": "1 maxUnavailable IntOrString, 2 maxSurge IntOrString",
    "DeploymentStatus": "1 observedGeneration int, 2 replicas int, 3 updatedReplicas int, 4 availableReplicas int, "
    "5 unavailableReplicas int, 7 readyReplicas int",
    "LabelSelector": "1 matchLabels {}string, 2 matchExpressions []LabelSelectorRequirement",
    "LabelSelectorRequirement": "1 key string, 2 operator string, 3 values []string",
    "PodTemplateSpec": "1 metadata ObjectMeta, 2 spec PodSpec",
    "PodSpec": "2 containers []Container, 3 restartPolicy string, 4 terminationGracePeriodSeconds int?, "
    "5 activeDeadlineSeconds int?, 6 dnsPolicy string, 7 nodeSelector {}string, 8 serviceAccountName string, "
    "9 serviceAccount string, 10 nodeName string, 11 hostNetwork bool, 12 hostPID bool, 13 hostIPC bool, "
    "14 securityContext Empty, 15 imagePullSecrets []LocalObjectReference, 16 hostname string, 17 subdomain string, "
    "19 schedulerName string, 20 initContainers []Container",
    "Container": "1 name string, 2 image string, 3 command []string, 4 args []string, 5 workingDir string, "
    "6 ports []ContainerPort, 7 env []EnvVar, 8 resources Empty, 13 terminationMessagePath string, "
    "14 imagePullPolicy string, 16 stdin bool, 17 stdinOnce bool, 18 tty bool, 20 terminationMessagePolicy string",
    "ContainerPort": "1 name string, 2 hostPort int, 3 containerPort int, 4 protocol string, 5 hostIP string",
    "EnvVar": "1 name string, 2 value string",
    "ObjectReference": "1 kind string, 2 namespace string, 3 name string, 4 uid string, 5 apiVersion string, "
    "6 resourceVersion string, 7 fieldPath string",
    "LocalObjectReference": "1 name string",
    "OwnerReference": "1 kind string, 3 name string, 4 uid string, 5 apiVersion string, 6 controller bool?, "
    "7 blockOwnerDeletion bool?",
    "ObjectMeta": "1 name string, 2 generateName string, 3 namespace string, 4 selfLink string, 5 uid string, "
    "6 resourceVersion string, 7 generation int, 8 creationTimestamp Time, 9 deletionTimestamp Time, "
    "10 deletionGracePeriodSeconds int?, 11 labels {}string, 12 annotations {}string, 13 ownerReferences []OwnerReference, "
    "14 finalizers []string",
    "TokenRequest": "1 metadata ObjectMeta, 2 spec TokenRequestSpec, 3 status TokenRequestStatus",
    "TokenRequestSpec": "1 audiences []string, 3 boundObjectRef BoundObjectReference, 4 expirationSeconds int?",
    "TokenRequestStatus": "1 token string, 2 expirationTimestamp Time",
    "BoundObjectReference": "1 kind string, 2 apiVersion string, 3 name string, 4 uID string",
    "SelfSubjectAccessReview": "1 metadata ObjectMeta, 2 spec SelfSubjectAccessReviewSpec, 3 status AccessReviewStatus",
    "SelfSubjectAccessReviewSpec": "1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes NonResourceAttributes",
    "ResourceAttributes": "1 namespace string, 2 verb string, 3 group string, 4 version string, 5 resource string, "
    "6 subresource string, 7 name string",
    "NonResourceAttributes": "1 path string, 2 verb string",
    "AccessReviewStatus": "1 allowed bool, 2 reason string, 3 evaluationError string, 4 denied bool",
    "SelfSubjectRulesReview": "1 metadata ObjectMeta, 2 spec SelfSubjectRulesReviewSpec, 3 status RulesReviewStatus",
    "SelfSubjectRulesReviewSpec": "1 namespace string",
    "RulesReviewStatus": "3 incomplete bool, 4 evaluationError string",
    "SelfSubjectReview": "1 metadata ObjectMeta, 2 status SelfSubjectReviewStatus",
    "SelfSubjectReviewStatus": "1 userInfo Empty",
    "DeleteOptions": "1 gracePeriodSeconds int?, 2 preconditions Preconditions, 3 orphanDependents bool?, "
    "4 propagationPolicy string, 5 dryRun []string",
    "Preconditions": "1 uid string, 2 resourceVersion string",
    "TypeMeta": "1 apiVersion string, 2 kind string",
    "Unknown": "1 typeMeta TypeMeta, 2 raw raw, 3 contentEncoding string, 4 contentType string",
    "Time": "1 seconds int, 2 nanos int",
    "IntOrString": "1 type int, 2 intVal int, 3 strVal string",
    "Empty": "",
}  # fmt: skip


class Unreadable(ValueError):
    """The bytes are no message of this type, or use a field that is not read here."""


class _Field(NamedTuple):
    name: str
    type: str
    repeated: bool
    mapped: bool
    keep_zero: bool


def _field(text: str) -> tuple[int, _Field]:
    number, name, type_ = text.split()
    bare = type_.removeprefix("[]").removeprefix("{}").removesuffix("?")
    return int(number), _Field(
        name, bare, type_.startswith("[]"), type_.startswith("{}"), type_.endswith("?")
    )


_MESSAGES = {
    message: dict(_field(part) for part in text.split(", ")) if text else {}
    for message, text in _MESSAGES_TEXT.items()
}


def decode(body: bytes) -> Object:
    """The object in a request body of `MEDIA_TYPE`. Raises Unreadable."""
    if not body.startswith(_MAGIC):
        raise Unreadable("the body does not begin with the Kubernetes protobuf prefix")
    envelope = _message(body[len(_MAGIC) :], "Unknown")
    kind = envelope.get("typeMeta", {}).get("kind", "")
    if kind not in _MESSAGES or kind in ("Unknown", "TypeMeta"):
        raise Unreadable(f"{kind or 'an unnamed kind'} is read as JSON only")
    version = envelope["typeMeta"].get("apiVersion", "")
    return {"apiVersion": version, "kind": kind, **_message(envelope.get("raw", b""), kind)}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Unreadable("truncated or oversized varint")
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at


def _wire(data: bytes, message: str) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and raw values: varints and length-delimited bytes; Kubernetes uses no others here."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == 0:
            yield key >> 3, value
        elif key & 7 == 2 and at + value <= len(data):
            yield key >> 3, data[at : at + value]
            at += value
        else:
            raise Unreadable(f"{message}: wire type {key & 7} of field {key >> 3} is not readable")


def _message(data: bytes, message: str) -> Object:
    result: Object = {}
    for number, raw in _wire(data, message):
        field = _MESSAGES[message].get(number)
        if field is None:
            if not raw:
                continue  # Go writes fields that are not set, too
            raise Unreadable(f"{message}: field {number} is read as JSON only")
        if field.mapped:
            entry = dict(_wire(raw if isinstance(raw, bytes) else b"", message))
            key = _value(entry.get(1, b""), "string")
            result.setdefault(field.name, {})[key] = _value(entry.get(2, b""), field.type)
        elif field.repeated:
            result.setdefault(field.name, []).append(_value(raw, field.type))
        else:
            value = _value(raw, field.type)
            if field.keep_zero or value not in ("", 0, False, None, {}):
                result[field.name] = value
    return result


def _value(raw: int | bytes, type_: str) -> Any:
    if isinstance(raw, int):
        if type_ not in ("int", "bool"):
            raise Unreadable(f"a number where {type_} is expected")
        signed = raw - (1 << 64) if raw >> 63 else raw
        return bool(raw) if type_ == "bool" else signed
    match type_:
        case "string":
            return raw.decode("utf-8", "replace")
        case "bytes":
            return base64.b64encode(raw).decode()
        case "raw":
            return raw
        case "Time":
            seconds = _message(raw, "Time").get("seconds")
            return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None
        case "IntOrString":
            either = _message(raw, "IntOrString")
            return either.get("strVal", "") if either.get("type") else either.get("intVal", 0)
        case "int" | "bool":
            raise Unreadable(f"bytes where {type_} is expected")
    return _message(raw, type_)
