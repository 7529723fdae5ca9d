"""The workloads, in the order they run: those of one scene follow each other. One file for each kind; a new one adds a line here."""

from __future__ import annotations

from bench.workloads import bodies, connections, http, policies
from bench.workloads.workload import Workload

WORKLOADS: list[Workload] = [
    *http.WORKLOADS,
    *bodies.WORKLOADS,
    *connections.WORKLOADS,
    *policies.WORKLOADS,
]
