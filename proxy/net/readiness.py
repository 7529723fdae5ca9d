"""What one descriptor is watched for while a connection is being made or taken.

Each step of a handshake wants the same or something else; the loop is told only of what changes, since every word to it is a system
call or two on the way of each new connection. Decides nothing. Invariant: after `neither` nobody is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Readiness:
    """Of `fd`, an integer, watched for one direction at most."""

    __slots__ = ("_fd", "_loop", "_reader", "_writer")

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int) -> None:
        self._loop = loop
        self._fd = fd
        self._reader: Callable[[], None] | None = None
        self._writer: Callable[[], None] | None = None

    def readable(self, callback: Callable[[], None]) -> None:
        """Call back when there is something to read, and for nothing else."""
        if self._reader != callback:
            self._reader = callback
            self._loop.add_reader(self._fd, callback)
        self._stop_writer()

    def writable(self, callback: Callable[[], None]) -> None:
        """Call back when the kernel takes bytes, and for nothing else: what is not read meanwhile would be told again and again."""
        if self._writer != callback:
            self._writer = callback
            self._loop.add_writer(self._fd, callback)
        self._stop_reader()

    def neither(self) -> None:
        """Watch no more; what the descriptor is used for next registers by itself."""
        self._stop_reader()
        self._stop_writer()

    def _stop_reader(self) -> None:
        if self._reader is not None:
            self._reader = None
            self._loop.remove_reader(self._fd)

    def _stop_writer(self) -> None:
        if self._writer is not None:
            self._writer = None
            self._loop.remove_writer(self._fd)

    def __repr__(self) -> str:
        return f"<Readiness {self._fd} reader={self._reader} writer={self._writer}>"
