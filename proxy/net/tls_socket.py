"""A connected socket and the TLS on it, from the first byte of the handshake until a connection takes both over.

Knows what the handshake waits for, not who waits. Decides nothing.
Reference: SSL_do_handshake(3).
"""

from __future__ import annotations

import enum
import socket
from typing import TypeAlias

from proxy.net.connection import BLOCKED
from proxy.tls.engine import INCOMING, TlsEngine
from proxy.tls.openssl import TlsError


class Step(enum.Enum):
    """What comes next."""

    READ = "wait until there is something to read"
    WRITE = "wait until the kernel takes bytes"
    DONE = "the handshake is done"


class TlsSocket:
    """`sock` is non-blocking. Whoever makes a connection of it owns both parts."""

    __slots__ = ("_unsent", "engine", "sock")

    def __init__(self, sock: socket.socket, engine: TlsEngine) -> None:
        self.sock = sock
        self.engine = engine
        self._unsent = b""

    def handshake(self) -> Step:
        """Go on as far as can be. Raises OSError, TlsError among them; the peer was told why."""
        engine = self.engine
        while True:
            try:
                done = engine.handshake()
            except TlsError:
                self._send()
                raise
            if not self._send():
                return Step.WRITE
            if done:
                return Step.DONE
            try:
                size = self.sock.recv_into(INCOMING)
            except BLOCKED:
                return Step.READ
            if not size:
                raise TlsError("UNEXPECTED_EOF_WHILE_READING")
            engine.take_in(size)

    def _send(self) -> bool:
        """Whether all that is to be said has gone."""
        self._unsent += self.engine.unsent()
        if not self._unsent:
            return True
        try:
            sent = self.sock.send(self._unsent)
        except BLOCKED:
            return False
        self._unsent = self._unsent[sent:]
        return not self._unsent

    def close(self) -> None:
        self.engine.free()
        self.sock.close()


Established: TypeAlias = socket.socket | TlsSocket
"""Connected, the handshake done where there is one; what a connection is made of."""
