"""Plaintext from one socket to another through a pipe: the bytes stay in the kernel.

Decides only how much moves at once. A `SplicedConnection` is a `Connection` that, once `splice_to` named where its bytes go, moves
them there instead of reporting them. What the target's kernel does not take waits in the pipe, and
nothing more is read until it is gone. Pipes are lent only while bytes move, and are few: without one, or where the kernel
refuses, bytes pass through this process as on any connection.
Invariants: a pipe is empty when it is given back; bytes that were kept for the target (`write`) are never overtaken.
Reference: splice(2). Envoy copies through its buffers here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Callable

from proxy.net.connection import Connection
from proxy.net.connection_owner import ConnectionOwner

PIPE_BYTES = 256 * 1024
_ROUNDS = 8  # fillings of the pipe for one readiness event, so that no connection starves the others
_KEPT = 4
_MOST = 128  # pipes at once: 256 descriptors
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ, which Python names from 3.10 on Linux alone
_UNFIT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM})
_splice: Callable[..., int] | None = getattr(os, "splice", None)
_NONBLOCK: int = getattr(os, "SPLICE_F_NONBLOCK", 0) | getattr(os, "SPLICE_F_MOVE", 0)
Pipe = tuple[int, int]


class Pipes:
    """Lends pipes; None when too many are lent or descriptors are short."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._free: list[Pipe] = []
        self.lent = 0

    def lend(self) -> Pipe | None:
        if self.lent >= self._most:
            return None
        if self._free:
            self.lent += 1
            return self._free.pop()
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with contextlib.suppress(OSError):  # beyond what one user may have; the usual 64 KiB do
            fcntl.fcntl(pipe[1], _SET_PIPE_SIZE, PIPE_BYTES)
        self.lent += 1
        return pipe

    def give_back(self, pipe: Pipe, *, empty: bool) -> None:
        self.lent -= 1
        if empty and len(self._free) < _KEPT:
            self._free.append(pipe)
        else:
            os.close(pipe[0])
            os.close(pipe[1])

    def close(self) -> None:
        """Close those that are not lent."""
        while self._free:
            for fd in self._free.pop():
                os.close(fd)


_pipes = Pipes()


def can_splice(sock: socket.socket) -> bool:
    """Whether the kernel can move this socket's bytes: plaintext, on a system with splice."""
    return _splice is not None and type(sock) is socket.socket


def _nothing() -> None:
    """A closed connection does not hold on to its owner."""


class SplicedConnection(Connection):
    """See above. Until `splice_to` it is any connection."""

    __slots__ = ("_moved", "_pending", "_pipe", "_pipes", "_target")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        owner: ConnectionOwner,
        pipes: Pipes = _pipes,
    ) -> None:
        super().__init__(loop, sock, owner)
        self._pipes = pipes
        self._moved: Callable[[], None] = _nothing
        self._target: SplicedConnection | None = None
        self._pipe: Pipe | None = None  # with what this connection's kernel has not taken
        self._pending = 0  # bytes in it

    def splice_to(self, target: SplicedConnection, moved: Callable[[], None]) -> None:
        """From now on what arrives here goes there; `moved` is called after each move."""
        self._target, self._moved = target, moved

    @property
    def unsent(self) -> int:
        if self._due:
            self.flush()
        return self._out_size + self._pending

    def _readable(self) -> None:
        target = self._target
        if not self.reading or target is None or target.closed or target._out or self._end_seen:
            super()._readable()
            return
        pipe = self._pipes.lend()
        if pipe is None:
            super()._readable()
            return
        ended, broken = self._move(pipe, target)
        if target._pending:
            # The target keeps the pipe until it is empty.
            self.pause_reading()
        else:
            self._pipes.give_back(pipe, empty=True)
        if broken is not None and broken.errno in _UNFIT:
            self._target = None  # level-triggered: it is read as usual at once
        elif broken is not None:
            self._fail(broken)
        elif ended:
            self._tell_end()

    def _move(self, pipe: Pipe, target: SplicedConnection) -> tuple[bool, OSError | None]:
        """Fill and empty the pipe as long as both sides do; whether the peer's end was met, and what failed here."""
        assert _splice is not None
        for _ in range(_ROUNDS):
            try:
                size = _splice(self.fd, pipe[1], PIPE_BYTES, flags=_NONBLOCK)
            except BlockingIOError:
                return False, None
            except OSError as error:
                return False, error
            if not size:
                return True, None
            self.bytes_in += size
            target._take(pipe, size)
            self._moved()
            if target._pending:
                return False, None
        return False, None

    def _take(self, pipe: Pipe, size: int) -> None:
        """Send what is in the pipe; what is left waits for the kernel."""
        self.bytes_out += size
        left = self._empty(pipe, size)
        if left:
            self._pipe, self._pending = pipe, left
            self.congested = True
            if not self._writing:
                self._writing = True
                self._loop.add_writer(self.fd, self._writable)

    def _empty(self, pipe: Pipe, size: int) -> int:
        assert _splice is not None
        try:
            while size:
                size -= _splice(pipe[0], self.fd, size, flags=_NONBLOCK)
        except BlockingIOError:
            pass
        except OSError as error:
            self._loop.call_soon(self._fail, error)
        return size

    def _writable(self) -> None:
        pipe = self._pipe
        if pipe is None:
            super()._writable()
            return
        self._pending = self._empty(pipe, self._pending)
        if not self._pending:
            self._pipe = None
            self._pipes.give_back(pipe, empty=True)
            self._drained()

    def close(self) -> None:
        pipe, self._pipe, self._pending = self._pipe, None, 0
        self._target = None
        self._moved = _nothing
        super().close()
        if pipe is not None:
            self._pipes.give_back(pipe, empty=False)
