"""A DestinationRule and a PeerAuthentication that want different things of one service.

Only policies of a whole namespace or the mesh are compared: those of single workloads hold for some of a service's pods.
"""

from __future__ import annotations

from collections.abc import Iterator

from control.analysis.analyzer import Analyzer
from control.analysis.message import MTLS_POLICY_CONFLICT, Message
from control.analysis.snapshot import Snapshot, full_name, namespace_of, spec
from control.resources import destination_rule, peer_authentication, service
from control.resources.kind import Object


def _mode(obj: Object) -> str:
    return str((spec(obj).get("mtls") or {}).get("mode") or "UNSET")


def _policy_of(namespace: str, snapshot: Snapshot) -> Object | None:
    """The oldest policy of the namespace, else of the mesh, that says something."""
    for place in (namespace, snapshot.root_namespace):
        found = [
            obj
            for obj in snapshot.of(peer_authentication.KIND)
            if namespace_of(obj) == place and not _selector(obj) and _mode(obj) != "UNSET"
        ]
        if found:
            return min(
                found, key=lambda o: (o["metadata"].get("creationTimestamp") or "~", o["metadata"]["name"])
            )
    return None


def _selector(obj: Object) -> dict[str, str]:
    return (spec(obj).get("selector") or {}).get("matchLabels") or {}


def _check(obj: Object, snapshot: Snapshot) -> Iterator[Message]:
    tls = (spec(obj).get("trafficPolicy") or {}).get("tls")
    host = snapshot.resolve(spec(obj)["host"], obj)
    target = snapshot.service(host)
    policy = _policy_of(namespace_of(target), snapshot) if target else None
    if not tls or policy is None:
        return
    wanted = tls.get("mode") == "ISTIO_MUTUAL"
    if (wanted and _mode(policy) == "DISABLE") or (not wanted and _mode(policy) == "STRICT"):
        yield MTLS_POLICY_CONFLICT.about(
            obj,
            "spec.trafficPolicy.tls",
            host,
            full_name(obj),
            str(wanted).lower(),
            full_name(policy),
            _mode(policy),
        )


CONFLICTS = Analyzer(
    "authn.MTLSConflictAnalyzer",
    "Checks that destination rules and peer authentications agree on mutual TLS",
    (destination_rule.KIND,),
    (service.KIND, peer_authentication.KIND),
    _check,
)
