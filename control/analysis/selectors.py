"""Workload selectors of policies that select nothing."""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import NO_MATCHING_WORKLOADS, Message
from control.analysis.snapshot import Snapshot, namespace_of, spec, written
from control.resources import deployment, destination_rule, local_rate_limit, peer_authentication, pod
from control.resources.kind import Object

_FIELDS = ("selector", "workloadSelector")


def _check(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    """A policy of the root namespace selects in every namespace, where the kind allows it; a DestinationRule never does."""
    for field in _FIELDS:
        labels = (spec(obj).get(field) or {}).get("matchLabels") or {}
        everywhere = namespace_of(obj) == snapshot.root_namespace and field == "selector"
        if labels and not snapshot.workloads(labels, None if everywhere else namespace_of(obj)):
            yield NO_MATCHING_WORKLOADS.about(obj, f"spec.{field}", written(labels))


ANALYZER = Analyzer(
    "workload.SelectorAnalyzer",
    "Checks that the workload selectors of policies select something",
    (peer_authentication.KIND, destination_rule.KIND, local_rate_limit.KIND),
    (pod.KIND, deployment.KIND),
    _check,
)
