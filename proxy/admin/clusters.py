"""Admin `/clusters`: every cluster with its limits and hosts, as Envoy's text and JSON.

Pure: prints what it is handed. Reference: Envoy source/server/admin/clusters_handler.cc; compared with a real Envoy's
page in the tests.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from proxy.admin.host_status import COUNTERS, GAUGES, HostStatus
from proxy.admin.http_server import JSON, Response
from proxy.admin.regex import RegexError, compile_regex
from proxy.upstream.outlier_detection import OutlierDetector

_RESOURCES = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
DEFAULT_LIMITS = (1024, 1024, 1024, 3)  # Envoy's, where no threshold is given
_HEALTH_FLAGS = {
    "HEALTHY": "",
    "UNHEALTHY": "/failed_eds_health",
    "DEGRADED": "/degraded_eds_health",
    "DRAINING": "/eds_status_draining",
}


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """One cluster as the page shows it. Limits are connections, pending requests, requests, retries."""

    name: str
    added_via_api: bool
    eds_service_name: str | None = None
    default_limits: tuple[int, int, int, int] = DEFAULT_LIMITS
    high_limits: tuple[int, int, int, int] = DEFAULT_LIMITS
    hosts: Iterable[HostStatus] = field(default_factory=tuple)
    outlier: OutlierDetector | None = None


def render(clusters: Iterable[ClusterStatus], query: dict[str, str]) -> Response:
    """Answer `/clusters`, `?format=json` included."""
    if query.get("filter"):
        try:
            search = compile_regex(query["filter"]).search
        except RegexError as error:
            return Response(f"Invalid re2 regex: {error}\n", 400)
        clusters = [cluster for cluster in clusters if search(cluster.name) is not None]
    if query.get("format") == "json":
        statuses = [_status(cluster) for cluster in clusters]
        return Response(json.dumps({"cluster_statuses": statuses}, indent=1) + "\n", content_type=JSON)
    return Response("".join(f"{line}\n" for cluster in clusters for line in _lines(cluster)))


def _lines(cluster: ClusterStatus) -> Iterable[str]:
    name = cluster.name
    yield f"{name}::observability_name::{name}"
    if cluster.outlier is not None:
        for kind, found in (("", cluster.outlier.average), ("local_origin_", cluster.outlier.local_average)):
            yield f"{name}::outlier::{kind}success_rate_average::{_rate(found.average)}"
            yield f"{name}::outlier::{kind}success_rate_ejection_threshold::{_rate(found.ejection)}"
    for priority, limits in (("default", cluster.default_limits), ("high", cluster.high_limits)):
        for resource, limit in zip(_RESOURCES, limits, strict=True):
            yield f"{name}::{priority}_priority::{resource}::{limit}"
    yield f"{name}::added_via_api::{str(cluster.added_via_api).lower()}"
    if cluster.eds_service_name:
        yield f"{name}::eds_service_name::{cluster.eds_service_name}"
    for host in cluster.hosts:
        yield from (f"{name}::{host.name}::{key}::{value}" for key, value in _host_values(host))


def _host_values(host: HostStatus) -> list[tuple[str, object]]:
    region, zone, sub_zone = host.locality
    return [
        ("cx_active", host.cx_active),
        ("cx_connect_fail", host.cx_connect_fail),
        ("cx_total", host.cx_total),
        ("rq_active", host.rq_active),
        ("rq_error", host.rq_error),
        ("rq_pending_active", host.rq_pending_active),
        ("rq_success", host.rq_success),
        ("rq_timeout", host.rq_timeout),
        ("rq_total", host.rq_total),
        ("hostname", ""),
        ("health_flags", _health_flags(host)),
        ("weight", host.weight),
        ("region", region),
        ("zone", zone),
        ("sub_zone", sub_zone),
        ("canary", "false"),
        ("priority", host.priority),
        ("success_rate", _rate(host.success_rate)),
        ("local_origin_success_rate", _rate(host.local_origin_success_rate)),
    ]


def _health_flags(host: HostStatus) -> str:
    return ("/failed_outlier_check" if host.ejected else "") + _HEALTH_FLAGS[host.health] or "healthy"


def _rate(percent: float) -> str:
    """As C++ streams print a double: six significant digits."""
    return f"{percent:.6g}"


def _status(cluster: ClusterStatus) -> dict[str, Any]:
    hosts = [_host_status(host) for host in cluster.hosts]
    thresholds = [
        dict(zip(_RESOURCES, cluster.default_limits, strict=True)),
        {"priority": "HIGH", **dict(zip(_RESOURCES, cluster.high_limits, strict=True))},
    ]
    outlier = cluster.outlier
    status = {
        "name": cluster.name,
        "added_via_api": cluster.added_via_api,
        **_percent(
            "success_rate_ejection_threshold", outlier.average.ejection if outlier is not None else None
        ),
        "host_statuses": hosts,
        "circuit_breakers": {"thresholds": thresholds},
        "observability_name": cluster.name,
        "eds_service_name": cluster.eds_service_name,
        **_percent(
            "local_origin_success_rate_ejection_threshold",
            outlier.local_average.ejection if outlier is not None else None,
        ),
    }
    # Envoy leaves fields of their default value out.
    return {key: value for key, value in status.items() if value}


def _host_status(host: HostStatus) -> dict[str, Any]:
    stats = [_stat(name, getattr(host, name)) for name in COUNTERS]
    stats += [{"type": "GAUGE", **_stat(name, getattr(host, name))} for name in GAUGES]
    region, zone, sub_zone = host.locality
    locality = {"region": region, "zone": zone, "sub_zone": sub_zone}
    status: dict[str, Any] = {
        "address": {"socket_address": {"address": host.address[0], "port_value": host.address[1]}},
        "stats": stats,
        "health_status": _health_status(host),
        **_percent("success_rate", host.success_rate),
        "weight": host.weight,
        "locality": {key: value for key, value in locality.items() if value},
    }
    status |= {"priority": host.priority} if host.priority else {}
    return status | _percent("local_origin_success_rate", host.local_origin_success_rate)


def _health_status(host: HostStatus) -> dict[str, Any]:
    status: dict[str, Any] = {"failed_outlier_check": True} if host.ejected else {}
    return {**status, "eds_health_status": host.health}


def _percent(name: str, value: float | None) -> dict[str, Any]:
    """A protobuf Percent, where the value is known."""
    if value is None or value < 0:
        return {}
    return {name: {"value": value} if value else {}}


def _stat(name: str, value: int) -> dict[str, str]:
    # 64-bit numbers are strings in protobuf's JSON, and zero is left out.
    return {"value": str(value), "name": name} if value else {"name": name}
