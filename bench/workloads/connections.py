"""Connections: what a new one costs, and what an idle one holds."""

from __future__ import annotations

from bench.workloads.scenes import NEW_CONNECTIONS
from bench.workloads.workload import Workload

NEW = Workload(
    name="new_connections",
    title="a new mTLS connection for each request, sessions resumed",
    section="connections",
    scene=NEW_CONNECTIONS,
    plan={"connections": 16},
    show=("requests_per_second", "cpu_us_per_request", "p50_us"),
)
WORKLOADS = [NEW]
