"""Messages between two processes: each a length of four bytes and MessagePack, in order, over a socket pair.

Decides framing only. Listening sockets travel beside them on a second pair, because a stream of bytes that is read ahead would
lose descriptors; who announces one has sent it already, so taking it never waits.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

_LENGTH = 4
Message = TypeVar("Message")


@dataclass(frozen=True, slots=True)
class Ends:
    """One side of the two socket pairs."""

    messages: socket.socket
    descriptors: socket.socket

    def close(self) -> None:
        self.messages.close()
        self.descriptors.close()


def pair() -> tuple[Ends, Ends]:
    """The leader's side, and the worker's."""
    ours, theirs = socket.socketpair()
    giving, taking = socket.socketpair()
    giving.setblocking(False)
    return Ends(ours, giving), Ends(theirs, taking)


class Channel(Generic[Message]):
    """One side of a conversation; `receives` is the type (or union of tagged types) of what the other side says."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: Ends, receives: Any
    ) -> None:
        self._reader, self._writer, self._ends = reader, writer, ends
        self._decode = msgspec.msgpack.Decoder(receives).decode
        self._encode = msgspec.msgpack.Encoder().encode

    @classmethod
    async def open(cls, ends: Ends, receives: Any) -> Channel[Message]:
        """A channel over sockets that this process owns from now on."""
        reader, writer = await asyncio.open_unix_connection(sock=ends.messages)
        return cls(reader, writer, ends, receives)

    def send(self, message: msgspec.Struct) -> None:
        """Say something; one who is gone does not hear it."""
        data = self._encode(message)
        if not self._writer.is_closing():
            self._writer.write(len(data).to_bytes(_LENGTH, "big") + data)

    async def flush(self) -> None:
        """Wait until what was said is on its way, or nobody hears it."""
        with suppress(OSError):
            await self._writer.drain()

    async def receive(self) -> Message | None:
        """The next message; None when the other side is gone."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH), "big")
            message: Message = self._decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            return None
        return message

    def send_descriptor(self, number: int) -> None:
        """Hand over a file descriptor; to be announced by a message afterwards. Raises OSError."""
        socket.send_fds(self._ends.descriptors, [b"."], [number])

    def take_descriptor(self) -> int:
        """The next descriptor that was announced. Raises OSError if there is none."""
        _, descriptors, _, _ = socket.recv_fds(self._ends.descriptors, 1, 1)
        if not descriptors:
            raise OSError("a descriptor was announced and is not there")
        return descriptors[0]

    def close(self) -> None:
        self._writer.close()
        self._ends.descriptors.close()
