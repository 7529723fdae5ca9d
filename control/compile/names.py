"""Names of clusters, listeners and routes, exactly Istio's: dashboards, logs and tools depend on them.

Reference: istio's pilot/pkg/model/context.go (BuildSubsetKey, BuildDNSSrvSubsetKey).
"""

from __future__ import annotations

from typing import NamedTuple

PASSTHROUGH = "PassthroughCluster"
BLACK_HOLE = "BlackHoleCluster"
INBOUND_PASSTHROUGH = "InboundPassthroughCluster"
VIRTUAL_OUTBOUND = "virtualOutbound"
VIRTUAL_INBOUND = "virtualInbound"
OUTBOUND_PORT = 15001
INBOUND_PORT = 15006


def outbound_cluster(port: int, subset: str, host: str) -> str:
    return f"outbound|{port}|{subset}|{host}"


def inbound_cluster(port: int) -> str:
    return f"inbound|{port}||"


def sni(port: int, subset: str, host: str) -> str:
    """The server name a client sidecar sends to another sidecar."""
    return f"outbound_.{port}_.{subset}_.{host}"


class ClusterName(NamedTuple):
    """The parts of a cluster's name; all empty but `host` for the well-known ones."""

    direction: str
    port: str
    subset: str
    host: str


def parse_cluster(name: str) -> ClusterName:
    parts = name.split("|")
    return ClusterName(*parts) if len(parts) == 4 else ClusterName("", "", "", name)
