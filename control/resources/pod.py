"""Pod: one workload. The API gives it names and defaults; the node runs it and writes its status.

Columns as in Kubernetes' pkg/printers/internalversion/printers.go (printPod).
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from control.resources.age import age
from control.resources.kind import Column, FieldError, Kind, Object, Verdict
from control.resources.metadata import META_LIST_KEYS, TopLevel
from control.resources.model import AnyObject, defaulter, list_keys, merge_keys, schema
from control.resources.pod_spec import PodSpec
from control.resources.validation import validator


class Pod(TopLevel):
    """A Pod is one workload: containers that share a network namespace and an address."""

    spec: PodSpec
    status: AnyObject = Field(default={"phase": "Pending"})

    @model_validator(mode="after")
    def _service_account(self) -> Pod:
        self.spec.serviceAccountName = self.spec.serviceAccountName or "default"
        self.spec.serviceAccount = self.spec.serviceAccountName
        return self


def is_terminal(pod: Object) -> bool:
    """Every container has ended and none will be started again."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _statuses(pod: Object, field: str = "containerStatuses") -> list[dict[str, Any]]:
    return pod.get("status", {}).get(field) or []


def _always_running(pod: Object) -> list[dict[str, Any]]:
    """Statuses of init containers that keep running (native sidecars); they count as containers."""
    names = {c["name"] for c in pod["spec"].get("initContainers") or [] if c.get("restartPolicy") == "Always"}
    return [status for status in _statuses(pod, "initContainerStatuses") if status["name"] in names]


def ready(pod: Object) -> str:
    sidecars = [c for c in pod["spec"].get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    statuses = _statuses(pod) + _always_running(pod)
    total = len(pod["spec"]["containers"]) + len(sidecars)
    return f"{sum(bool(s.get('ready')) for s in statuses)}/{total}"


def _init_phase(pod: Object) -> str | None:
    """`Init:1/2`, `Init:Error` … while init containers are not done; None when they are."""
    specs = {c["name"]: c for c in pod["spec"].get("initContainers") or []}
    for index, status in enumerate(_statuses(pod, "initContainerStatuses")):
        state = status.get("state", {})
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended and ended.get("exitCode") == 0:
            continue
        if specs.get(status["name"], {}).get("restartPolicy") == "Always" and status.get("started"):
            continue
        if ended:
            return f"Init:{ended.get('reason') or 'ExitCode:' + str(ended.get('exitCode'))}"
        if waiting and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(specs)}"
    return None


def phase(pod: Object) -> str:
    """The STATUS column: the most telling reason there is."""
    status = pod.get("status", {})
    reason: str = status.get("reason") or status.get("phase") or "Unknown"
    starting = _init_phase(pod)
    if starting:
        reason = starting
    else:
        running = False
        for container in reversed(_statuses(pod)):
            state = container.get("state", {})
            waiting, ended = state.get("waiting"), state.get("terminated")
            if waiting and waiting.get("reason"):
                reason = waiting["reason"]
            elif ended:
                reason = ended.get("reason") or f"ExitCode:{ended.get('exitCode')}"
            running = running or bool(container.get("ready") and "running" in state)
        if reason == "Completed" and running:
            reason = "Running" if _condition(pod, "Ready") else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return reason


def _condition(pod: Object, type_: str) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c.get("type") == type_ and c.get("status") == "True" for c in conditions)


def restarts(pod: Object) -> str:
    statuses = _statuses(pod) + _always_running(pod)
    count = sum(status.get("restartCount", 0) for status in statuses)
    last = max(
        (s.get("lastState", {}).get("terminated", {}).get("finishedAt") or "" for s in statuses), default=""
    )
    return f"{count} ({age(last)} ago)" if count and last else str(count)


def _validate_update(old: Object, new: Object) -> Verdict:
    """Of a Pod's spec only images, tolerations and deadlines may change, and the node it is bound to once."""
    before, after = _frozen(old["spec"]), _frozen(new["spec"])
    if "nodeName" not in before:
        after.pop("nodeName", None)
    if before == after:
        return Verdict()
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    why = (
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
        f"tolerations),`spec.terminationGracePeriodSeconds`; changed: {', '.join(changed)}"
    )
    return Verdict((FieldError("spec", why, "FieldValueForbidden"),))


def _frozen(spec: Object) -> Object:
    free = {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "ephemeralContainers"}
    frozen = {name: value for name, value in spec.items() if name not in free}
    for field in ("containers", "initContainers"):
        if field in frozen:
            frozen[field] = [
                {k: v for k, v in c.items() if k not in ("image", "imagePullPolicy")} for c in frozen[field]
            ]
    return frozen


_KEYS = META_LIST_KEYS | list_keys(Pod) | {"status.conditions": ("type",), "status.podIPs": ("ip",)}

KIND = Kind(
    group="",
    versions=("v1",),
    kind="Pod",
    plural="pods",
    short_names=("po",),
    categories=("all",),
    has_status=True,
    subresources=("log",),
    columns=(
        Column("Ready", ready),
        Column("Status", phase),
        Column("Restarts", restarts),
        Column("IP", lambda pod: pod.get("status", {}).get("podIP") or "<none>", wide=True),
        Column("Node", lambda pod: pod["spec"].get("nodeName") or "<none>", wide=True),
        Column("Nominated Node", lambda _: "<none>", wide=True),
        Column("Readiness Gates", lambda _: "<none>", wide=True),
    ),
    schema=schema(Pod),
    default=defaulter(Pod),
    validate=validator(Pod),
    validate_update=_validate_update,
    merge_keys=merge_keys(_KEYS),
    list_map_keys=_KEYS,
)
