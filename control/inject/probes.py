"""App probes and lifecycle hooks, moved to the agent: the kubelet has no certificate to show a STRICT port.

HTTP, TCP and gRPC probes become an HTTP GET of the agent's port; what they were goes to the agent as JSON by path. Exec stays.
Reference: istio's pkg/kube/inject/app_probe.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STATUS_PORT = 15020
_PATHS = {"livenessProbe": "livez", "readinessProbe": "readyz", "startupProbe": "startupz"}
_HOOKS = {"preStop": "prestopz", "postStart": "poststartz"}

Object = dict[str, Any]


def rewrite_probes(container: Object) -> tuple[Object, dict[str, Object]]:
    """The container with its probes moved, and what the agent is to ask, by path."""
    changed, moved = dict(container), {}
    for field, word in _PATHS.items():
        probe = container.get(field)
        if probe and any(kind in probe for kind in ("httpGet", "tcpSocket", "grpc")):
            path = f"/app-health/{container['name']}/{word}"
            moved[path] = _original(probe, container)
            rest = {k: v for k, v in probe.items() if k not in ("httpGet", "tcpSocket", "grpc")}
            changed[field] = {**rest, "httpGet": {"path": path, "port": STATUS_PORT, "scheme": "HTTP"}}
    lifecycle = dict(container.get("lifecycle") or {})
    for field, word in _HOOKS.items():
        hook = lifecycle.get(field)
        if hook and "httpGet" in hook:
            path = f"/app-lifecycle/{container['name']}/{word}"
            moved[path] = _original(hook, container)
            lifecycle[field] = {"httpGet": {"path": path, "port": STATUS_PORT, "scheme": "HTTP"}}
    if lifecycle:
        changed["lifecycle"] = lifecycle
    return changed, moved


def _original(probe: Mapping[str, Any], container: Mapping[str, Any]) -> Object:
    """The probe as the agent needs it: ports as numbers, and its timeout."""
    kept: Object = {}
    for kind in ("httpGet", "tcpSocket", "grpc"):
        if kind in probe:
            action = dict(probe[kind])
            action["port"] = _number(action.get("port"), container)
            kept[kind] = action
    if probe.get("timeoutSeconds"):
        kept["timeoutSeconds"] = probe["timeoutSeconds"]
    return kept


def _number(port: int | str | None, container: Mapping[str, Any]) -> int | str | None:
    for declared in container.get("ports") or ():
        if declared.get("name") == port:
            return int(declared["containerPort"])
    return int(port) if isinstance(port, str) and port.isdigit() else port
