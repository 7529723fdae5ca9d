"""uvloop's event loop, whose readers outlive an error of their socket.

libuv stops to watch a socket for which the kernel reports an error, such as a peer's reset, and uvloop calls the reader once
more and forgets it. What the peer sent before its reset may need several calls, though, and only the last finds the
error: a connection that was left in the middle of a body waited for the rest for ever. So a reader that uvloop let go, and
nobody took away, is put back; asyncio's own loop keeps it anyway. A writer needs no such care: its next `send` fails.
Knows nothing of what readers do. Invariant: a reader is called until `remove_reader`, as asyncio promises.
Reference: libuv `uv__poll_io` (POLLERR), uvloop `UVPoll._fatal_error`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVarTuple

import uvloop

_Ts = TypeVarTuple("_Ts")


class _Reader(weakref.ref["partial[object]"]):
    """Tells when uvloop lets go of what it was to call."""

    __slots__ = ("arguments",)

    arguments: tuple[Any, ...]
    """Of `add_reader`."""


class Loop(uvloop.Loop):
    """See above; the descriptors are integers."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[int, _Reader] = {}

    def add_reader(self, fd: Any, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None:
        """Call `callback(*args)` whenever `fd` is readable, at its end or broken."""
        watched = partial(callback, *args)  # held by uvloop alone
        reader = _Reader(watched, self._let_go)
        reader.arguments = (fd, callback, *args)
        self._kept[fd] = reader  # before uvloop lets go of an earlier one
        super().add_reader(fd, watched)

    def remove_reader(self, fd: Any) -> None:  # type: ignore[override]  # uvloop says None where asyncio says bool
        """Call nobody any more; harmless where there is no reader."""
        self._kept.pop(fd, None)
        super().remove_reader(fd)

    def _let_go(self, reader: weakref.ref[Any]) -> None:
        # In the middle of uvloop's work: what it is about to close can be replaced only afterwards.
        assert isinstance(reader, _Reader)
        if self._is_kept(reader) and not self.is_closed():
            self.call_soon(self._put_back, reader)

    def _put_back(self, reader: _Reader) -> None:
        if self._is_kept(reader):
            self.remove_reader(reader.arguments[0])
            self.add_reader(*reader.arguments)

    def _is_kept(self, reader: _Reader) -> bool:
        """Whether nobody has removed or replaced it."""
        return self._kept.get(reader.arguments[0]) is reader
