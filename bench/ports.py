"""Free loopback ports for processes that must be told their port before they start.

Chosen below Linux's ephemeral range (32768 and up), so that no outgoing connection takes one between the
choice and the bind.
"""

from __future__ import annotations

import random
import socket

FIRST, LAST = 11000, 31999
_given: set[int] = set()


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` different TCP ports nobody listens on now, and that this process did not get before."""
    held: list[socket.socket] = []
    found: list[int] = []
    try:
        while len(found) < count:
            port = random.randint(FIRST, LAST)
            if port in _given:
                continue
            _given.add(port)
            sock = socket.socket()
            held.append(sock)
            try:
                sock.bind((host, port))
            except OSError:
                continue
            found.append(port)
        return found
    finally:
        for sock in held:
            sock.close()
