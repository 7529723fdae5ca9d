"""What a workload is: a configuration for a pair of sidecars, and the load sent through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.pki import Authority
from bench.xds_server import Snapshot


@dataclass(frozen=True)
class Ports:
    """Where the parts of one pair listen."""

    client: int
    server: int
    upstream: int


@dataclass(frozen=True)
class Workload:
    """`snapshots` gives the xDS of (client, server), for vanilla Envoy or for ours; `host` is the authority the generator asks for."""

    name: str
    title: str
    host: str
    connections: int
    body_bytes: int
    rate: float
    """Requests/s of the open loop, which every peer gets alike."""
    snapshots: Callable[[Ports, Authority, bool], tuple[Snapshot, Snapshot]]
