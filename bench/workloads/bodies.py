"""Bodies, requests that are sent in chunks, and opaque connections: bytes that one CPU second of a sidecar carries."""

from __future__ import annotations

from typing import Any

from bench.workloads.scenes import HTTP_BODIES, TCP_MTLS, TCP_PLAINTEXT
from bench.workloads.workload import Scene, Workload

_KIB, _MIB = 1024, 1024 * 1024


def _bodies(
    name: str, title: str, scene: Scene = HTTP_BODIES, section: str = "bodies", **plan: Any
) -> Workload:
    return Workload(
        name=name,
        title=title,
        section=section,
        scene=scene,
        plan=plan,
        show=("bytes_per_cpu_second", "bytes_per_second"),
        generator="bench.load_bodies",
        quick=name == "bodies_64k_down",
    )


def _opaque(name: str, title: str, scene: Scene) -> list[Workload]:
    """Over opaque connections the same messages are bytes that no sidecar understands."""
    section = "opaque TCP"
    return [
        _bodies(
            f"{name}_down", f"{title}, towards the client", scene, section, direction="down", size=10 * _MIB
        ),
        _bodies(f"{name}_up", f"{title}, towards the app", scene, section, direction="up", size=10 * _MIB),
    ]


WORKLOADS = [
    _bodies("bodies_64k_down", "64 KiB answers", direction="down", size=64 * _KIB),
    _bodies("bodies_64k_up", "64 KiB requests", direction="up", size=64 * _KIB),
    _bodies("bodies_10m_down", "10 MiB answers", direction="down", size=10 * _MIB),
    _bodies("bodies_10m_up", "10 MiB requests", direction="up", size=10 * _MIB),
    _bodies("chunked_post", "64 KiB requests in chunks", direction="up", size=64 * _KIB, chunked=True),
    *_opaque("tcp_plaintext", "plaintext", TCP_PLAINTEXT),
    *_opaque("tcp_mtls", "mTLS", TCP_MTLS),
]
