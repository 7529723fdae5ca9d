"""The annotations by which a pod changes its injection, all checked: a malformed one refuses the pod.

Reference: istio's pkg/kube/inject/validate.go.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any

import yaml

PROXY = "glassmesh.io/proxy"
TEMPLATES = "inject.istio.io/templates"
INTERCEPTION_MODE = "sidecar.istio.io/interceptionMode"
REWRITE_PROBERS = "sidecar.istio.io/rewriteAppHTTPProbers"
STATUS = "sidecar.istio.io/status"
STATUS_PORT = "status.sidecar.istio.io/port"
PROXY_CONFIG = "proxy.istio.io/config"
MERGE_METRICS = "prometheus.istio.io/merge-metrics"
TRAFFIC = "traffic.sidecar.istio.io/"
READINESS = "readiness.status.sidecar.istio.io/"


class InjectionError(ValueError):
    """A pod that cannot be injected as it asks; the text names every reason."""


def _ports(value: str) -> None:
    for part in filter(None, value.split(",")):
        if not part.strip().isdigit() or not 0 < int(part) <= 65535:
            raise ValueError(f"{part!r} is not a port")


def _ports_or_all(value: str) -> None:
    if value != "*":
        _ports(value)


def _ranges(value: str) -> None:
    for part in filter(None, value.split(",")):
        ip_network(part.strip(), strict=False)


def _ranges_or_all(value: str) -> None:
    if value != "*":
        _ranges(value)


def _boolean(value: str) -> None:
    if value.lower() not in ("true", "false"):
        raise ValueError("want true or false")


def _number(value: str) -> None:
    if not value.isdigit():
        raise ValueError("want a number")


def _one_of(*words: str) -> Callable[[str], None]:
    def check(value: str) -> None:
        if value not in words:
            raise ValueError(f"want one of {', '.join(words)}")

    return check


def _proxy_config(value: str) -> None:
    try:
        parsed = yaml.load(value, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not isinstance(parsed, dict):
        raise ValueError("want a YAML mapping")
    workers = parsed.get("concurrency", 0)
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 0:
        raise ValueError(f"concurrency: {workers!r} is not a number of workers (0: one per CPU)")


def _any(_value: str) -> None:
    return


CHECKS: Mapping[str, Callable[[str], None]] = {
    TRAFFIC + "includeInboundPorts": _ports_or_all,
    TRAFFIC + "excludeInboundPorts": _ports,
    TRAFFIC + "includeOutboundIPRanges": _ranges_or_all,
    TRAFFIC + "excludeOutboundIPRanges": _ranges,
    TRAFFIC + "includeOutboundPorts": _ports_or_all,
    TRAFFIC + "excludeOutboundPorts": _ports,
    TRAFFIC + "excludeInterfaces": _any,
    INTERCEPTION_MODE: _one_of("REDIRECT", "NONE"),
    REWRITE_PROBERS: _boolean,
    STATUS_PORT: _number,
    MERGE_METRICS: _boolean,
    PROXY_CONFIG: _proxy_config,
    PROXY: _one_of("envoy", "glassmesh"),
    TEMPLATES: _one_of("sidecar", "gateway"),
    READINESS + "initialDelaySeconds": _number,
    READINESS + "periodSeconds": _number,
    READINESS + "failureThreshold": _number,
    READINESS + "applicationPorts": _ports,
}


def check_annotations(annotations: Mapping[str, str]) -> None:
    """Raises InjectionError naming every malformed annotation."""
    problems = []
    for name, check in CHECKS.items():
        if name not in annotations:
            continue
        try:
            check(annotations[name])
        except ValueError as error:
            problems.append(f"{name}: invalid value {json.dumps(annotations[name])}: {error}")
    if problems:
        raise InjectionError("injection failed due to malformed annotations: " + "; ".join(problems))


def proxy_config(defaults: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
    """The mesh's defaults with the pod's own on top."""
    own = yaml.load(annotations.get(PROXY_CONFIG, "{}"), Loader=yaml.CSafeLoader)
    return {**defaults, **own}
