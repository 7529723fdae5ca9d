"""No proxy: the generator talks to the app. The floor that every other row stands on."""

from __future__ import annotations

from bench.peers.peer import Peer

PEER = Peer(
    name="direct",
    title="no proxy",
    vanilla=True,
    command=None,
    unavailable=lambda: "",
    version=lambda: "",
)
