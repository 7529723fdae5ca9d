"""The peers, in the order of the table. One file each; a new one adds a file and a line here."""

from __future__ import annotations

from bench.peers import direct, envoy, glassmesh, haproxy, nginx
from bench.peers.peer import Peer

PEERS: list[Peer] = [
    direct.PEER,
    envoy.PEER,
    glassmesh.PEER,
    glassmesh.WITH_TELEMETRY,
    haproxy.PEER,
    nginx.PEER,
]
