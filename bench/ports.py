"""Free loopback ports for processes that must be told their port before they start.

Chosen below Linux's ephemeral range (32768 and up), so that no outgoing connection takes one between the
choice and the bind. Processes that run side by side begin in different places, so that they do not choose the same.
"""

from __future__ import annotations

import itertools
import os
import socket

FIRST, LAST = 11000, 31999
_numbers = itertools.count(os.getpid() * 97)


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` different TCP ports nobody listens on now, and that this process did not get lately."""
    held: list[socket.socket] = []
    found: list[int] = []
    try:
        while len(found) < count:
            port = FIRST + next(_numbers) % (LAST - FIRST + 1)
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
