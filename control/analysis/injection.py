"""Namespaces that say nothing of injection, and pods that should have a proxy and have none.

Reference: istio's analyzers/injection/injection.go.
"""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import NAMESPACE_NOT_INJECTED, POD_MISSING_PROXY, Message
from control.analysis.snapshot import Snapshot, is_system, labels_of, namespace_of, spec
from control.inject.decision import NAMESPACE_LABEL, REVISION, decide
from control.registry.auto_registration import AUTO_REGISTERED
from control.resources import namespace, pod
from control.resources.kind import Object

_PROXY = "istio-proxy"


def _namespaces(obj: Object, _snapshot: Snapshot) -> Iterator[Message]:
    name, labels = obj["metadata"]["name"], labels_of(obj)
    if not is_system(name) and NAMESPACE_LABEL not in labels and REVISION not in labels:
        yield NAMESPACE_NOT_INJECTED.about(obj, "metadata.labels", name)


def _pods(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    labels = snapshot.namespace_labels(namespace_of(obj))
    wanted = decide(namespace_of(obj), labels, obj["metadata"], spec(obj)).inject
    containers = [*(spec(obj).get("containers") or ()), *(spec(obj).get("initContainers") or ())]
    running = (obj.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    if AUTO_REGISTERED in (obj["metadata"].get("annotations") or {}):
        return  # of a proxy that connected by itself, which is not among the containers
    if wanted and running and not any(container.get("name") == _PROXY for container in containers):
        yield POD_MISSING_PROXY.about(obj, "", f"{namespace_of(obj)}/{obj['metadata']['name']}")


NAMESPACES = Analyzer(
    "injection.Analyzer",
    "Checks that namespaces say whether they are injected",
    (namespace.KIND,),
    (),
    _namespaces,
    at_apply=False,
)
PODS = Analyzer(
    "injection.PodAnalyzer",
    "Checks that pods of injected namespaces have the proxy",
    (pod.KIND,),
    (namespace.KIND,),
    _pods,
    at_apply=False,  # injection has just decided
)
