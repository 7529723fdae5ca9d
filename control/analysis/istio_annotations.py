"""Annotations of Istio's domain: they exist, and stand where they are read.

Reference: istio's analyzers/annotations, istio.io/api annotation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from control.analysis.analyzer import Analyzer
from control.analysis.message import MISPLACED_ANNOTATION, UNKNOWN_ANNOTATION, Message
from control.analysis.snapshot import Snapshot
from control.inject.annotations import CHECKS
from control.inject.decision import INJECT
from control.registry.service import EXPORT_TO
from control.resources import deployment, namespace, pod, service
from control.resources.kind import Object

_DOMAIN = "istio.io"
_KINDS = (namespace.KIND, service.KIND, pod.KIND, deployment.KIND)
_ANY = frozenset({"Namespace", "Service", "Pod", "Deployment"})
_POD = frozenset({"Pod"})
# Those we act on, and those of Istio that a manifest may bring along.
_PLACES: Mapping[str, frozenset[str]] = {
    **dict.fromkeys((*CHECKS, INJECT), _POD),
    EXPORT_TO: frozenset({"Service"}),
    **dict.fromkeys(
        (
            "sidecar.istio.io/status",
            "sidecar.istio.io/bootstrapOverride",
            "sidecar.istio.io/componentLogLevel",
            "sidecar.istio.io/logLevel",
            "sidecar.istio.io/proxyImage",
            "sidecar.istio.io/proxyImageType",
            "sidecar.istio.io/proxyCPU",
            "sidecar.istio.io/proxyCPULimit",
            "sidecar.istio.io/proxyMemory",
            "sidecar.istio.io/proxyMemoryLimit",
            "sidecar.istio.io/statsInclusionPrefixes",
            "sidecar.istio.io/statsInclusionSuffixes",
            "sidecar.istio.io/statsInclusionRegexps",
            "sidecar.istio.io/extraStatTags",
            "sidecar.istio.io/userVolume",
            "sidecar.istio.io/userVolumeMount",
            "sidecar.istio.io/agentLogLevel",
            "sidecar.istio.io/discoveryAddress",
            "sidecar.istio.io/nativeSidecar",
            "istio.io/rerouteVirtualInterfaces",
            "traffic.sidecar.istio.io/kubevirtInterfaces",
            "traffic.istio.io/nodeSelector",
        ),
        _POD,
    ),
    "networking.istio.io/address-type": frozenset({"Service"}),
    "networking.istio.io/service-type": frozenset({"Service"}),
    "networking.istio.io/traffic-distribution": frozenset({"Service", "Namespace"}),
    "traffic.istio.io/nodeSelector": frozenset({"Service"}),
    "topology.istio.io/controlPlaneClusters": frozenset({"Namespace"}),
    "ambient.istio.io/redirection": _POD,
    "istio.io/dry-run": _ANY,
    "istio.io/rev": _ANY,
}


def _check(obj: Object, _snapshot: Snapshot) -> Iterator[Message]:
    yield from _of(obj, obj["kind"], obj.get("metadata") or {}, "metadata")
    if obj["kind"] == "Deployment":
        meta = ((obj.get("spec") or {}).get("template") or {}).get("metadata") or {}
        yield from _of(obj, "Pod", meta, "spec.template.metadata")


def _of(obj: Object, kind: str, meta: Object, path: str) -> Iterator[Message]:
    for name in meta.get("annotations") or {}:
        domain = name.partition("/")[0]
        if domain != _DOMAIN and not domain.endswith(f".{_DOMAIN}"):
            continue
        places = _PLACES.get(name)
        if places is None:
            yield UNKNOWN_ANNOTATION.about(obj, f"{path}.annotations", name)
        elif kind not in places:
            yield MISPLACED_ANNOTATION.about(obj, f"{path}.annotations", name, ", ".join(sorted(places)))


ANALYZER = Analyzer(
    "annotations.K8sAnalyzer",
    "Checks for misplaced and unknown annotations of Istio",
    _KINDS,
    (),
    _check,
    at_apply=False,
)
