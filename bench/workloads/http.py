"""Istio's published load, and how much of small requests a pair carries, by connections.

Istio publishes its sidecars' cost at 1,000 requests/s, 1 KB, 16 connections, with mutual TLS, metrics and access log
(https://istio.io/latest/docs/ops/deployment/performance-and-scalability/).
"""

from __future__ import annotations

from bench.workloads.scenes import HTTP, ONE_HOP
from bench.workloads.workload import BOTH, HOPS, PAIRS, Workload

ISTIO = Workload(
    name="istio",
    title="1,000 requests/s, 1 KiB, 16 connections",
    section="Istio's published load",
    scene=HTTP,
    plan={"connections": 16, "rate": 1000.0},
    show=("vcpu", "p50_us", "p90_us", "p99_us", "added_p50_us", "added_p90_us", "added_p99_us", "rss_kib"),
    peers=tuple(name for name in PAIRS if name != "glassmesh_source"),
    seconds=3.0,
    warmup=0.5,
    quick=True,
)


def _saturation(connections: int, peers: tuple[str, ...], *, quick: bool = False) -> Workload:
    plural = "" if connections == 1 else "s"
    return Workload(
        name=f"saturation_{connections}",
        title=f"1 KiB, {connections} connection{plural}",
        section="saturation",
        scene=HTTP,
        plan={"connections": connections},
        show=("requests_per_second", "cpu_us_per_request", "kernel_us_per_request", "p50_us", "p99_us"),
        peers=peers,
        seconds=1.8 if quick else 1.2,
        quick=quick,
    )


SATURATION = _saturation(16, PAIRS, quick=True)
HOP = Workload(
    name="one_hop",
    title="1 KiB, 16 connections, client → proxy → app",
    section="one plaintext hop, beside Python's proxies",
    scene=ONE_HOP,
    plan={"connections": 16},
    show=(
        "requests_per_cpu_second",
        "cpu_us_per_request",
        "requests_per_second",
        "p50_us",
        "p99_us",
        "rss_kib",
    ),
    peers=HOPS,
    seconds=1.5,
    warmup=0.5,
)
WORKLOADS = [
    ISTIO,
    _saturation(1, BOTH),
    _saturation(2, BOTH),
    SATURATION,
    _saturation(64, BOTH),
    HOP,
]
