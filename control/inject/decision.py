"""Whether a pod gets a sidecar.

First which webhook rule would fire (labels of namespace and pod), then the injector's own order of reasons; the first that says
something decides. Reference: istio's mutatingwebhook.yaml and pkg/kube/inject/inject.go (injectRequired).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

INJECT = "sidecar.istio.io/inject"
REVISION = "istio.io/rev"
NAMESPACE_LABEL = "istio-injection"
_IGNORED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})
_YES, _NO = ("true", "enabled"), ("false", "disabled")


class Decision(NamedTuple):
    """Whether to inject, and why or why not."""

    inject: bool
    reason: str


def decide(
    namespace: str, namespace_labels: Mapping[str, str], meta: Mapping[str, Any], spec: Mapping[str, Any]
) -> Decision:
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    asked = labels.get(INJECT, "")
    selected = _webhook(namespace_labels, asked, REVISION in labels)
    if not selected.inject:
        return selected
    if spec.get("hostNetwork"):
        return Decision(False, "hostNetwork is true")
    if namespace in _IGNORED_NAMESPACES:
        return Decision(False, f"namespace {namespace} is never injected")
    value = (asked or annotations.get(INJECT, "")).lower()
    if value in _NO:
        return Decision(False, f"{INJECT} is {value}")
    return selected


def _webhook(namespace_labels: Mapping[str, str], asked: str, pod_has_revision: bool) -> Decision:
    """`asked` is the pod's inject label. The namespace's `istio-injection` goes before its revision."""
    value = namespace_labels.get(NAMESPACE_LABEL, "")
    if value == "disabled":
        return Decision(False, f"the namespace has {NAMESPACE_LABEL}=disabled")
    if asked == "false":
        return Decision(False, f"the pod has {INJECT}=false")
    if value == "enabled":
        return Decision(True, f"the namespace has {NAMESPACE_LABEL}=enabled")
    if REVISION in namespace_labels:
        return Decision(True, f"the namespace has {REVISION}")
    if asked == "true":
        return Decision(True, f"the pod has {INJECT}=true")
    if pod_has_revision:
        return Decision(True, f"the pod has {REVISION}")
    return Decision(False, "neither namespace nor pod asks for injection")
