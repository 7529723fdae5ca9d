"""DestinationRules: their host exists, once; their subsets have pods; the TLS they originate verifies the server.

Reference: istio's analyzers/destinationrule (ca-cert.go, pod-not-selected.go, unknown-host).
"""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import (
    CONFLICTING_DESTINATION_RULES,
    NO_SERVER_VERIFICATION,
    NO_SERVER_VERIFICATION_AT_PORT,
    SUBSET_SELECTS_NO_PODS,
    UNKNOWN_RULE_HOST,
    Message,
)
from control.analysis.snapshot import Snapshot, full_name, namespace_of, seen_together, spec
from control.resources import deployment, destination_rule, pod, service
from control.resources.kind import Object


def _host(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    host = spec(obj)["host"]
    resolved = snapshot.resolve(host, obj)
    if resolved.endswith(f".svc.{snapshot.domain}") and not snapshot.has_host(resolved):
        yield UNKNOWN_RULE_HOST.about(obj, "spec.host", host)


def _selective(obj: Object) -> bool:
    return bool((spec(obj).get("workloadSelector") or {}).get("matchLabels"))


def _conflicts(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    """Rules of one namespace merge; of several namespaces one is chosen for each client, which is a matter of design."""
    if _selective(obj):
        return
    host = snapshot.resolve(spec(obj)["host"], obj)
    others = [
        other
        for other in snapshot.rule_hosts.get(host, ())
        if namespace_of(other) == namespace_of(obj) and not _selective(other) and seen_together(obj, other)
    ]
    if len(others) > 1:
        names = ",".join(sorted(full_name(other) for other in others))
        policies = [other for other in others if spec(other).get("trafficPolicy")] or others
        yield CONFLICTING_DESTINATION_RULES.about(
            obj, "spec.host", names, host, full_name(min(policies, key=_age))
        )


def _age(obj: Object) -> tuple[str, str]:
    """What is about to be created has no time yet, and is the youngest."""
    return (obj["metadata"].get("creationTimestamp") or "~", obj["metadata"]["name"])


def _subsets(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    host = snapshot.service(snapshot.resolve(spec(obj)["host"], obj))
    selector = spec(host).get("selector") if host else None
    if host is None or not selector:
        return
    for index, subset in enumerate(spec(obj).get("subsets") or ()):
        labels = {**(subset.get("labels") or {}), **selector}
        if not snapshot.workloads(labels, namespace_of(host)):
            yield SUBSET_SELECTS_NO_PODS.about(obj, f"spec.subsets[{index}]", subset["name"])


def _unverified(tls: Object | None) -> bool:
    if not tls or tls.get("mode") not in ("SIMPLE", "MUTUAL"):
        return False
    return not (tls.get("caCertificates") or tls.get("credentialName") or tls.get("insecureSkipVerify"))


def _certificates(obj: Object, _snapshot: Snapshot) -> Iterator[Message]:
    policy = spec(obj).get("trafficPolicy") or {}
    name, host = obj["metadata"]["name"], spec(obj)["host"]
    if _unverified(policy.get("tls")):
        mode = policy["tls"]["mode"]
        yield NO_SERVER_VERIFICATION.about(obj, "spec.trafficPolicy.tls", name, namespace_of(obj), mode, host)
    for index, entry in enumerate(policy.get("portLevelSettings") or ()):
        if _unverified(entry.get("tls")):
            path, port = f"spec.trafficPolicy.portLevelSettings[{index}].tls", entry["port"]["number"]
            yield NO_SERVER_VERIFICATION_AT_PORT.about(
                obj, path, name, namespace_of(obj), entry["tls"]["mode"], host, port
            )


_KINDS = (destination_rule.KIND,)
HOST = Analyzer(
    "destinationrule.UnknownHostAnalyzer",
    "Checks that the host of each destination rule is a service of the mesh",
    _KINDS,
    (service.KIND,),
    _host,
)
CONFLICTS = Analyzer(
    "destinationrule.ConflictAnalyzer",
    "Checks for several destination rules for one host",
    _KINDS,
    _KINDS,
    _conflicts,
)
SUBSETS = Analyzer(
    "destinationrule.PodNotSelectedAnalyzer",
    "Checks that the subsets of each destination rule have pods",
    _KINDS,
    (service.KIND, pod.KIND, deployment.KIND),
    _subsets,
)
CERTIFICATES = Analyzer(
    "destinationrule.CaCertificateAnalyzer",
    "Checks that TLS originated by a destination rule verifies the server",
    _KINDS,
    (),
    _certificates,
)
