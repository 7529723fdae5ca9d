"""istioctl's columns, from a config dump."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cli.proxy_tables import age, failed_outlier_check, resources, status_headings, status_rows, table
from control.compile.compiler import compile_proxy
from control.push.connection import Connection
from control.push.debug import config_dump
from control.push.manifests import context_of, read
from control.push.proxy import Proxy
from control.push.snapshot import snapshot

MESH = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web-v1}
spec: {template: {metadata: {labels: {app: web, version: v1}}, spec: {serviceAccountName: web, containers: []}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http: [{match: [{uri: {exact: /a}}], route: [{destination: {host: web, subset: v1}}]}]
"""


@pytest.fixture
def dump() -> Any:
    context = context_of(read(MESH))
    workload = context.workloads[0]
    proxy = Proxy("x", "sidecar", workload.ip, "web-v1", "default", workload.labels, "web", False, {})
    return config_dump(Connection(proxy, snapshot(compile_proxy(context, proxy)), 0, 0))


HOST = "web.default.svc.cluster.local"


def test_clusters(dump: Any) -> None:
    rows = table("clusters", resources(dump, "clusters"))
    assert ["", "8080", "-", "inbound", "ORIGINAL_DST", ""] in rows
    assert ["BlackHoleCluster", "-", "-", "-", "STATIC", ""] in rows
    assert [HOST, "80", "v1", "outbound", "EDS", "web.default"] in rows


def test_listeners(dump: Any) -> None:
    rows = table("listeners", resources(dump, "listeners"))
    assert ["0.0.0.0", "80", "Trans: raw_buffer; App: http/1.1", "Route: 80"] in rows
    assert ["0.0.0.0", "80", "ALL", "PassthroughCluster"] in rows
    assert ["0.0.0.0", "15006", "Trans: raw_buffer; Addr: *:8080", "Inline Route: /*"] in rows


def test_routes(dump: Any) -> None:
    rows = table("routes", resources(dump, "routes"))
    assert ["80", f"{HOST}:80", f"{HOST}, {HOST}. + 4 more...", "/a", "web.default"] in rows
    assert ["80", "allow_any", "*", "/*", ""] in rows


def test_endpoints(dump: Any) -> None:
    rows = table("endpoints", resources(dump, "endpoints"))
    assert ["10.244.0.1:8080", "HEALTHY", "-", "", f"outbound|80|v1|{HOST}"] in rows


def test_endpoints_of_the_proxy_itself_tell_which_are_ejected(dump: Any) -> None:
    def host(address: str, **health: bool) -> Any:
        place = {"socket_address": {"address": address, "port_value": 8080}}
        return {"address": place, "health_status": {"eds_health_status": "HEALTHY", **health}}

    statuses = [
        {"name": f"outbound|80|v1|{HOST}", "host_statuses": [host("10.244.0.1", failed_outlier_check=True)]},
        {"name": f"outbound|80||{HOST}", "host_statuses": [host("10.244.0.1"), host("10.244.0.9")]},
        {"name": "empty"},
    ]
    failed = failed_outlier_check({"cluster_statuses": statuses})
    rows = table("endpoints", resources(dump, "endpoints"), failed)
    assert {row[4]: row[2] for row in rows} == {
        f"outbound|80|v1|{HOST}": "FAILED",
        f"outbound|80||{HOST}": "OK",
    }


def test_status() -> None:
    now = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
    proxy = {
        "proxy": "web.default",
        "cluster_id": "Kubernetes",
        "istio_version": "1",
        "user_agent": "envoy",
        "cluster_status": "SYNCED",
        "cluster_time": "2026-01-01T00:05:00Z",
        "listener_status": "ERROR",
        "listener_time": "2026-01-01T00:09:30Z",
        "endpoint_status": "STALE",
        "endpoint_time": "2025-12-31T00:10:00Z",
        "route_status": "NOT SENT",
    }
    assert status_rows([proxy], verbose=True, now=now) == [
        [
            "web.default",
            "Kubernetes",
            "SYNCED (5m)",
            "ERROR (30s)",
            "STALE (1d)",
            "NOT SENT",
            "istiod",
            "1 (envoy)",
        ]
    ]
    assert status_rows([proxy], verbose=False, now=now)[0][-1] == "3 (CDS,LDS,EDS)"
    assert status_headings(verbose=True)[2:6] == ["CDS", "LDS", "EDS", "RDS"]


def test_an_unreadable_time_has_no_age() -> None:
    assert age("x", datetime.now(UTC)) == "?"
