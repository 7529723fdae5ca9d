"""What is measured: a scene (a mesh, and an app behind it) and the load that is sent through it.

A scene is started once for each peer, and every workload that names it is measured in it; so a workload costs no start of its own. Nothing
here knows how a load is made or a peer started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.pki import Authority
from bench.xds_server import Snapshot


@dataclass(frozen=True)
class Ports:
    """Where the parts of one pair listen."""

    client: int
    server: int
    upstream: int


@dataclass(frozen=True)
class Scene:
    """`snapshots` gives the xDS of each sidecar, client first, for vanilla Envoy or for ours; with one hop there is only the client's.

    `host` is the authority to ask for. `app` is the module of the app behind and what follows the port on its command line; `bootstrap` is laid
    over the bootstrap file of peers that have one. `own` says whether peers with a configuration language of their own can stand in.
    """

    name: str
    host: str
    snapshots: Callable[[Ports, Authority, bool], tuple[Snapshot, ...]]
    app: tuple[str, ...] = ("bench.upstream", "1024")
    hops: int = 2
    own: bool = False
    bootstrap: Mapping[str, Any] = field(default_factory=dict)


BOTH = ("envoy", "glassmesh")
PAIRS = ("direct", *BOTH, "glassmesh_telemetry", "glassmesh_source", "haproxy", "nginx")
HOPS = ("direct", *BOTH, "glassmesh_source", "mitmproxy", "proxy_py")


@dataclass(frozen=True)
class Workload:
    """`plan` is what the generator module takes beside port, host, seconds and warmup (both in s).

    `target` is the port of the pair to send to: the client sidecar's, or the server sidecar's, whose peer the generator then is. `show` names the
    figures of the table. `quick` workloads are part of a quick run. `section` is the heading below which it is reported.
    """

    name: str
    title: str
    section: str
    scene: Scene
    plan: Mapping[str, Any]
    show: tuple[str, ...]
    peers: tuple[str, ...] = BOTH
    generator: str = "bench.load"
    seconds: float = 1.2
    warmup: float = 0.3
    target: str = "client"
    quick: bool = False
    rounds: int | None = None
    """At most so many, whatever the run's effort."""
