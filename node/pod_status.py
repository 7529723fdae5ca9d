"""A pod's status from what its containers do: phase, conditions, addresses.

Pure. A condition keeps the time of its last change. Reference: Kubernetes, "Pod Lifecycle"; kubelet's getPhase and
status/generate.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from node.container_state import ContainerRecord

Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything a status is made of. `sidecars` are init containers that keep running."""

    inits: Sequence[ContainerRecord]
    containers: Sequence[ContainerRecord]
    sidecars: frozenset[str]
    restart_policy: str
    pod_ip: str
    host_ip: str
    start_time: str

    @property
    def initialized(self) -> bool:
        return all(c.started if c.name in self.sidecars else c.succeeded for c in self.inits)


def phase(facts: Facts) -> str:
    """Pending until every container ran once; then Running until all ended for good."""
    containers = facts.containers
    if not facts.initialized or any(c.runs == 0 and c.exit_code is None for c in containers):
        failed = any(c.exit_code not in (None, 0) for c in facts.inits)
        return "Failed" if failed and facts.restart_policy == "Never" else "Pending"
    if facts.restart_policy == "Always" or any(c.exit_code is None for c in containers):
        return "Running"
    if all(c.succeeded for c in containers):
        return "Succeeded"
    return "Failed" if facts.restart_policy == "Never" else "Running"


def build(facts: Facts, old: Status, now: str) -> Status:
    """The whole status to write; `old` gives the times of conditions that did not change."""
    current = phase(facts)
    over = current in ("Succeeded", "Failed")
    everyone = [*facts.containers, *(c for c in facts.inits if c.name in facts.sidecars)]
    unready = [] if over else [c.name for c in everyone if not c.ready]
    waiting = [c.name for c in facts.inits if not (c.started if c.name in facts.sidecars else c.succeeded)]
    conditions = [
        _condition("PodReadyToStartContainers", bool(facts.pod_ip)),
        _condition("Initialized", not waiting, "ContainersNotInitialized", "incomplete", waiting),
        _condition("Ready", not unready and not over, "ContainersNotReady", "unready", unready, over),
        _condition(
            "ContainersReady", not unready and not over, "ContainersNotReady", "unready", unready, over
        ),
        _condition("PodScheduled", True),
    ]
    status: Status = {
        "phase": current,
        "conditions": [_with_time(condition, old, now) for condition in conditions],
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": facts.start_time,
        "containerStatuses": [record.status() for record in facts.containers],
        "qosClass": "BestEffort",
    }
    if facts.inits:
        status["initContainerStatuses"] = [_init_status(record, facts) for record in facts.inits]
    if facts.pod_ip:
        status |= {"podIP": facts.pod_ip, "podIPs": [{"ip": facts.pod_ip}]}
    return status


def _init_status(record: ContainerRecord, facts: Facts) -> Status:
    status = record.status()
    if record.name not in facts.sidecars:
        status["ready"] = record.succeeded  # what ready means for a container that has to end
    return status


def _condition(
    kind: str, true: bool, reason: str = "", word: str = "", names: Iterable[str] = (), over: bool = False
) -> Status:
    condition: Status = {"type": kind, "status": "True" if true else "False"}
    if not true and reason:
        condition["reason"] = "PodCompleted" if over else reason
        if not over:
            condition["message"] = f"containers with {word} status: [{' '.join(names)}]"
    return condition


def _with_time(condition: Status, old: Status, now: str) -> Status:
    before = next((c for c in old.get("conditions") or [] if c["type"] == condition["type"]), None)
    if before is not None and before["status"] == condition["status"]:
        now = before["lastTransitionTime"]
    return condition | {"lastTransitionTime": now}
