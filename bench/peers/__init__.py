"""The peers, in the order of the table. A new one adds a file and a line here."""

from __future__ import annotations

from bench.peers import direct, envoy, glassmesh, haproxy, nginx, python_peers
from bench.peers.peer import Peer

PEERS: list[Peer] = [
    direct.PEER,
    envoy.PEER,
    glassmesh.PEER,
    glassmesh.WITH_TELEMETRY,
    glassmesh.FROM_SOURCE,
    haproxy.PEER,
    nginx.PEER,
    python_peers.MITMPROXY,
    python_peers.PROXY_PY,
]
