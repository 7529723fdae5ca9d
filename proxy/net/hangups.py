"""Tells that a peer has ended its connection while nobody reads from it.

An event loop tells only what can be read or written, and what is not read for now cannot be watched for that: bytes that wait
would be told again and again. So an epoll set of our own, which asks for ends alone, is one more thing the loop watches. Decides
nothing about what an end means. Invariant: a descriptor is told once, and never after `forget`.
Reference: EPOLLRDHUP, epoll_ctl(2); Envoy source/common/network/connection_impl.cc (early close while reading is disabled).
"""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable


class Hangups:
    """Of all connections of a loop. Nothing is opened before the first is watched."""

    __slots__ = ("_epoll", "_loop", "_told")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll: select.epoll | None = None
        self._told: dict[int, Callable[[], None]] = {}

    def watch(self, fd: int, told: Callable[[], None]) -> None:
        """Call `told` from the loop when the peer ends or resets; it may have done so already."""
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._look)
        self._told[fd] = told
        self._epoll.register(fd, select.EPOLLRDHUP)

    def forget(self, fd: int) -> None:
        """Before the descriptor is closed, or read again. Harmless where it is not watched."""
        if self._told.pop(fd, None) is not None and self._epoll is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fd)

    def _look(self) -> None:
        assert self._epoll is not None
        for fd, _ in self._epoll.poll(0):
            told = self._told.get(fd)  # another's call may have ended it
            if told is not None:
                self.forget(fd)
                told()

    def close(self) -> None:
        """Tell nobody any more."""
        epoll, self._epoll = self._epoll, None
        self._told.clear()
        if epoll is not None:
            self._loop.remove_reader(epoll.fileno())
            epoll.close()

    def __repr__(self) -> str:
        return f"<Hangups watched={len(self._told)}>"
