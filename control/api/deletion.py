"""When an object is really gone: finalizers, graceful Pods, Namespaces and preconditions.

Pure. Invariant: an object with finalizers or a running Pod is only marked for deletion; whoever holds it lets go later.
Reference: k8s.io/apiserver/pkg/registry/generic/registry/store.go (Delete), rest/delete.go (BeforeDelete).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from control.api import errors
from control.api.request_info import RequestInfo
from control.resources import namespace as namespaces
from control.resources.kind import Kind, Object
from control.resources.pod import is_terminal

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"  # finalizers the garbage collector takes away
_PROTECTED_NAMESPACES = ("default", "kube-system")


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """Preconditions and manner of a deletion. `grace_seconds` None is the object's own."""

    grace_seconds: int | None = None
    propagation: str = "Background"
    uid: str | None = None
    version: str | None = None
    dry_run: bool = False


def finalizers_of(kind: Kind, obj: Object) -> list[str]:
    """What must happen before the object is gone; a Namespace has finalizers in its spec too."""
    found = list(obj["metadata"].get("finalizers") or [])
    if kind.resource == namespaces.KIND.resource:
        found += obj.get("spec", {}).get("finalizers") or []
    return found


def is_let_go(kind: Kind, obj: Object) -> bool:
    """Whether an object marked for deletion is held by nobody any more."""
    meta = obj["metadata"]
    marked = bool(meta.get("deletionTimestamp"))
    return marked and not finalizers_of(kind, obj) and not meta.get("deletionGracePeriodSeconds")


def check_preconditions(info: RequestInfo, old: Object, options: DeleteOptions) -> None:
    """Raises ApiError when the request means another object, or one that may not be deleted."""
    meta, name = old["metadata"], info.name or ""
    if options.uid and options.uid != meta["uid"]:
        why = f"Precondition failed: UID in precondition: {options.uid}, UID in object meta: {meta['uid']}"
        raise errors.conflict(info.kind, name, why)
    if options.version and options.version != meta["resourceVersion"]:
        raise errors.conflict(info.kind, name, errors.MODIFIED)
    if info.kind.resource == namespaces.KIND.resource and name in _PROTECTED_NAMESPACES:
        raise errors.forbidden(info.kind, name, "this namespace may not be deleted")


def marked_for_deletion(kind: Kind, old: Object, options: DeleteOptions, now: datetime) -> Object | None:
    """The object marked for deletion; None when nothing holds it and it can go now."""
    meta = dict(old["metadata"])
    grace = _grace_seconds(kind, old, options.grace_seconds)
    finalizers = list(meta.get("finalizers") or [])
    for wanted, finalizer in (("Foreground", FOREGROUND), ("Orphan", ORPHAN)):
        if options.propagation == wanted and finalizer not in finalizers:
            finalizers.append(finalizer)
    if finalizers:
        meta["finalizers"] = finalizers
    marked = {**old, "metadata": meta}
    if not grace and not finalizers_of(kind, marked):
        return None
    if "deletionTimestamp" in meta and grace >= meta.get("deletionGracePeriodSeconds", 0):
        return marked  # a later request may only shorten the wait
    end = now + timedelta(seconds=grace)
    meta["deletionTimestamp"] = end.strftime("%Y-%m-%dT%H:%M:%SZ")
    meta["deletionGracePeriodSeconds"] = grace
    if kind.resource == namespaces.KIND.resource:
        marked["status"] = {**old.get("status", {}), "phase": "Terminating"}
    return marked


def _grace_seconds(kind: Kind, old: Object, asked: int | None) -> int:
    """How long the node may take to stop a Pod; 0 for a Pod no node runs, and for every other kind."""
    if kind.resource != "pods" or not old["spec"].get("nodeName") or is_terminal(old):
        return 0
    return int(old["spec"].get("terminationGracePeriodSeconds", 30)) if asked is None else asked
