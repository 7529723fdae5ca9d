"""One non-blocking socket: reads when readable, writes as the loop's turn ends, keeps what the kernel would not take.

Decides nothing about protocols. Its owner is told of bytes (`on_data`, or `on_burst` where there were many), of the peer's
end (`on_eof`), of failure (`on_error`) and of an emptied write buffer (`on_drain`). Above HIGH_WATER unsent bytes `congested` is true until the
buffer is empty again; whoever feeds it pauses the other side's reading meanwhile.
Invariants: `on_eof` comes once, behind all data; once `closed`, no callback runs and the descriptor is released; `close` may be called at any time, also from
a callback. Long bodies pass as lists of pieces, and of them only the first read is copied, out of the buffer all connections share.
The reader stays registered while nothing is paused, so an idle keep-alive connection costs no epoll_ctl per request.
`TlsConnection` is one with TLS.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from proxy.net.connection_owner import NOBODY, ConnectionOwner
from proxy.net.outbox import Sender, outbox_of

if TYPE_CHECKING:
    from proxy.tls.engine import TlsEngine

HIGH_WATER: Final = 256 * 1024
_READ: Final = 64 * 1024
# Every read goes here first. A bytes object of the size that might come would be cut to what did come, and whatever the
# request then allocates would settle in what was cut off: the heap of bench.soak grew by 1 MB in 100,000 requests.
_RECEIVED: Final = bytearray(_READ)
_RECEIVED_VIEW: Final = memoryview(_RECEIVED)
BURST: Final = 256 * 1024  # bytes taken for one readiness event, so that no connection starves the others
_VECTOR: Final = 64  # pieces of one sendmsg
_LONG: Final = 16 * 1024  # bytes that are not worth holding back for the end of the turn
_LINGER_0 = struct.pack("ii", 1, 0)
BLOCKED: Final = (BlockingIOError, InterruptedError)


class Connection(Sender):
    """Owns `sock`, which is non-blocking and connected."""

    __slots__ = (
        "_broken",
        "_due",
        "_end_seen",
        "_end_told",
        "_finishing",
        "_loop",
        "_out",
        "_out_size",
        "_outbox",
        "_read",
        "_read_into",
        "_send",
        "_writing",
        "bytes_in",
        "bytes_out",
        "closed",
        "congested",
        "fd",
        "owner",
        "reading",
        "sock",
        "tls",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, owner: ConnectionOwner) -> None:
        self._loop = loop
        self.sock = sock
        self.owner = owner
        self.fd = sock.fileno()
        self.tls: TlsEngine | None = None
        self._read: Callable[[int], bytes] = sock.recv
        self._read_into: Callable[[bytearray], int] = sock.recv_into
        self._send: Callable[[bytes | memoryview], int] = sock.send
        self._out: list[bytes | memoryview] = []
        self._out_size = 0
        self._outbox = outbox_of(loop)
        self._due = False  # waits for the end of the turn
        self.reading = False
        self._writing = False
        self._end_told = False  # to the owner, for whom there is nothing to read any more
        self._end_seen = False  # behind bytes that were passed on first,
        self._broken: OSError | None = None  # and whether it was none in order
        self._finishing = False  # shut down writing once the buffer is empty
        self.closed = False
        self.congested = False
        self.bytes_in = 0
        self.bytes_out = 0

    def start(self) -> None:
        """Begin to read."""
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read on; of an end that came meanwhile the owner is told then. Behind one it was told of there is nothing."""
        if not self.reading and not self.closed and not self._end_told:
            self.reading = True
            self._loop.add_reader(self.fd, self._readable)
            if self._end_seen:
                self._loop.call_soon(self._readable)

    def pause_reading(self) -> None:
        if self.reading:
            self.reading = False
            self._loop.remove_reader(self.fd)

    def _readable(self) -> None:
        if not self.reading:
            return
        if self._end_seen:
            self._tell_end()
            return
        try:
            size = self._read_into(_RECEIVED)
        except BLOCKED:
            return
        except OSError as error:
            self._fail(error)
            return
        if not size:
            self._tell_end()
            return
        data = _RECEIVED_VIEW[:size].tobytes()
        self.bytes_in += size
        if size == _READ:
            self._read_on(data)
        else:
            self.owner.on_data(data)

    def _read_on(self, first: bytes) -> None:
        """A read that was filled has more behind it: take what is there in one go."""
        pieces, size = [first], len(first)
        while size < BURST:
            try:
                data = self._read(BURST - size)
            except BLOCKED:
                break
            except OSError as error:
                self._broken = error.with_traceback(None)  # whose frames know this connection
                data = b""
            if not data:
                self._end_seen = True
                # No event may announce it when the owner has paused meanwhile.
                self._loop.call_soon(self._readable)
                break
            pieces.append(data)
            size += len(data)
        self.bytes_in += size - len(first)
        if len(pieces) == 1:
            self.owner.on_data(first)
        else:
            self.owner.on_burst(pieces)

    def _tell_end(self) -> None:
        if self._broken is not None:
            self._fail(self._broken)
        else:
            self.pause_reading()
            self._end_told = True
            self.owner.on_eof()

    def write(self, data: bytes) -> None:
        """Send as this turn of the loop ends what the kernel takes then, and keep the rest. Ignored on a closed connection."""
        if self.closed or not data:
            return
        self.bytes_out += len(data)
        self._out.append(data)
        self._out_size += len(data)
        if self._writing:
            self._watch()
        elif self._out_size >= _LONG:
            self.flush()
        elif not self._due:
            self._due = True
            self._outbox.add(self, self._loop)

    def flush(self) -> None:
        """Send what was written; nobody need call this but the outbox."""
        self._due = False
        out = self._out
        if not out or self._writing:
            return
        # One message as a rule; several short ones make one record and one packet.
        data = out[0] if len(out) == 1 else b"".join(out)
        try:
            sent = self._send(data)
        except BLOCKED:
            sent = 0
        except OSError as error:
            out.clear()
            self._out_size = 0
            # Reported from the event loop: a caller may be in the middle of something.
            self._loop.call_soon(self._fail, error)
            return
        out.clear()
        if sent == len(data):
            self._out_size = 0
            return
        self._out_size -= sent
        out.append(memoryview(data)[sent:] if sent else data)
        self._watch()

    def write_pieces(self, pieces: list[bytes]) -> None:
        """Send a long message without joining it; as `write`."""
        if len(pieces) == 1:
            self.write(pieces[0])
            return
        if self.closed:
            return
        for piece in pieces:
            if piece:
                self.bytes_out += len(piece)
                self._out.append(piece)
                self._out_size += len(piece)
        if not self._writing:
            self._push()
        self._watch()

    def _watch(self) -> None:
        """What is left goes when the kernel takes it."""
        if self._out_size > HIGH_WATER:
            self.congested = True
        if self._out_size and not self._writing and not self.closed:
            self._writing = True
            self._loop.add_writer(self.fd, self._writable)

    def _push(self) -> None:
        try:
            self._flush()
        except OSError as error:
            self._out.clear()
            self._out_size = 0
            self._loop.call_soon(self._fail, error)

    def _flush(self) -> None:
        """Send as much as the kernel takes. Raises OSError where the connection is broken."""
        out = self._out
        while out:
            batch = out[:_VECTOR]
            try:
                sent = self._send(batch[0]) if len(batch) == 1 else self.sock.sendmsg(batch)
            except BLOCKED:
                return
            self._out_size -= sent
            for number, piece in enumerate(batch):
                if sent < len(piece):
                    out[number] = memoryview(piece)[sent:]
                    del out[:number]
                    return
                sent -= len(piece)
            del out[: len(batch)]

    def _writable(self) -> None:
        try:
            self._flush()
        except OSError as error:
            self._fail(error)
            return
        if not self._out_size:
            self._drained()

    def _drained(self) -> None:
        self._writing = False
        self._loop.remove_writer(self.fd)
        if self._finishing:
            self._shut_down_writing()
        self.congested = False
        self.owner.on_drain()

    @property
    def unsent(self) -> int:
        """Bytes written that the kernel does not take."""
        if self._due:
            self.flush()
        return self._out_size

    def finish_writing(self) -> None:
        """Tell the peer, after all that was written, that no more will come; reading goes on."""
        if self.closed or self._finishing:
            return
        if self._due:
            self.flush()
        self._finishing = True
        if not self._out_size:
            self._shut_down_writing()

    def _shut_down_writing(self) -> None:
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self.fd)
        try:
            self._say_end()
            self.sock.shutdown(socket.SHUT_WR)
        except BLOCKED:
            self._writing = True
            self._loop.add_writer(self.fd, self._shut_down_writing)
        except OSError:
            pass  # the peer was faster

    def _say_end(self) -> None:
        """A protocol on the socket may have its own way to end. Raises OSError as `send`."""

    def _fail(self, error: OSError) -> None:
        if not self.closed:
            owner = self.owner
            self.close()
            owner.on_error(error)

    def reset(self) -> None:
        """Close so that the peer sees a reset, not an end."""
        if not self.closed:
            if self._due:
                self.flush()
            self._finishing = True  # no close_notify
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
            self.close()

    def close(self) -> None:
        """Release the socket at once; bytes the kernel does not take are lost."""
        if self.closed:
            return
        if self._due:
            self.flush()
        self.closed = True
        self.pause_reading()
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self.fd)
        self._out.clear()
        self._out_size = 0
        self._release()
        self.owner = NOBODY  # lets go of it now, whoever still refers to this connection

    def _release(self) -> None:
        self.sock.close()

    def __repr__(self) -> str:
        kind = "tls" if self.tls is not None else "plain"
        state = (
            "closed" if self.closed else f"in={self.bytes_in} out={self.bytes_out} unsent={self._out_size}"
        )
        return f"<Connection {kind} fd={self.fd} {state}>"
