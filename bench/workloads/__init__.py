"""The workloads, in the order they run. One file each; a new one adds a file and a line here."""

from __future__ import annotations

from bench.workloads import http_mtls
from bench.workloads.workload import Workload

WORKLOADS: list[Workload] = [http_mtls.WORKLOAD]
