"""A connection with TLS: what one recv brought is decrypted at once, and as many records as fit leave with one send.

The rest is a `Connection`'s: when it reads and writes, whom it tells. Of what was written only as much is encrypted as the kernel is
about to take. Invariant: ciphertext leaves in the order in which it was made.

A peer may send a message of TLS itself, a ticket or new keys, in several records. OpenSSL writes nothing while it has a part of one, so what is
written waits for the rest, which is read even while the owner has paused: it may wait for the writing. BoringSSL, and so Envoy, writes on.
What comes with the rest is kept for the owner, a BURST at most: the next message may begin behind it, and so on for ever.
"""

from __future__ import annotations

import asyncio

from proxy.net.connection import BLOCKED, BURST, HIGH_WATER, Connection
from proxy.net.connection_owner import ConnectionOwner
from proxy.net.tls_socket import Established, TlsSocket
from proxy.tls.engine import INCOMING, MOST, OUTGOING
from proxy.tls.openssl import TlsError


def connection_on(
    loop: asyncio.AbstractEventLoop,
    end: Established,
    owner: ConnectionOwner,
    plain: type[Connection] = Connection,
) -> Connection:
    """The connection of a socket, of the class `plain`, or of one with TLS."""
    if isinstance(end, TlsSocket):
        return TlsConnection(loop, end, owner)
    return plain(loop, end, owner)


class TlsConnection(Connection):
    """Owns both parts of a `TlsSocket` whose handshake is done."""

    __slots__ = ("_ahead", "_alert", "_awaits_rest", "_engine", "_kept", "_sealed", "_sealed_from")

    def __init__(self, loop: asyncio.AbstractEventLoop, end: TlsSocket, owner: ConnectionOwner) -> None:
        super().__init__(loop, end.sock, owner)
        self.tls = self._engine = end.engine
        self._ahead = end.engine.ahead  # bytes that came with the handshake
        self._sealed = b""  # ciphertext that the kernel did not take
        self._sealed_from = 0  # bytes of plaintext that it was made from
        self._alert = b""  # close_notify, while the kernel does not take it
        self._awaits_rest = False  # of a message of TLS itself, to write on
        self._kept = b""  # what came with it while the owner had paused

    def resume_reading(self) -> None:
        if (self._ahead or self._kept) and not self.reading and not self.closed:
            self._loop.call_soon(self._readable)
        super().resume_reading()

    def pause_reading(self) -> None:
        super().pause_reading()
        if self._awaits_rest and not self.closed:
            self._loop.add_reader(self.fd, self._read_rest)

    def _readable(self) -> None:
        if not self.reading:
            return
        pieces: list[bytes] = []
        size = 0
        if self._kept:
            pieces.append(self._kept)
            self._kept = b""
        while size < BURST and not self._end_seen:
            came, data = self._receive()
            if data:
                pieces.append(data)
                size += len(data)
            if came < len(INCOMING):
                break
        self.bytes_in += size
        if self._awaits_rest:
            self._loop.call_soon(self._write_on)
        if self._end_seen:
            if not pieces:
                self._tell_end()
                return
            # No event may announce it when the owner has paused meanwhile.
            self._loop.call_soon(self._readable)
        if len(pieces) == 1:
            self.owner.on_data(pieces[0])
        elif pieces:
            self.owner.on_burst(pieces)

    def _receive(self) -> tuple[int, bytes]:
        """How many bytes came, and what they said; whether it was the last."""
        came = 0
        try:
            if not self._ahead:
                came = self.sock.recv_into(INCOMING)
                if not came:
                    # Without close_notify, too: what was announced decides whether that is an error.
                    self._end_seen = True
                    return 0, b""
        except BLOCKED:
            return 0, b""
        except OSError as error:
            self._broken = error.with_traceback(None)
            self._end_seen = True
            return 0, b""
        self._ahead = False
        engine = self._engine
        data = engine.decrypt(came)
        if engine.ended:
            self._broken = engine.failure
            self._end_seen = True
        return came, data

    def flush(self) -> None:
        self._due = False
        if self._out and not self._writing:
            self._push()
            self._watch()

    def _flush(self) -> None:
        while self._out_size:
            if self._sealed:
                records, plain = memoryview(self._sealed), self._sealed_from
            else:
                data = self._next()
                size, plain = self._engine.encrypt(data), len(data)
                if not size:
                    self._out.insert(0, data)
                    self._await_rest()
                    return
                records = OUTGOING[:size]
            try:
                sent = self.sock.send(records)
            except BLOCKED:
                sent = 0
            if sent < len(records):
                # A copy: the next connection that sends uses the same memory.
                self._sealed, self._sealed_from = bytes(records[sent:]), plain
                return
            self._sealed = b""
            self._out_size -= plain

    # While there is a part of a message of TLS itself.

    def _await_rest(self) -> None:
        """Write no more until it is there. Raises TlsError where it never will be."""
        if self._end_seen:
            raise TlsError("UNEXPECTED_EOF_WHILE_READING")
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self.fd)
        if not self._awaits_rest:
            self._awaits_rest = True
            if not self.reading:
                self._loop.add_reader(self.fd, self._read_rest)

    def _read_rest(self) -> None:
        """The owner has paused; what comes for it is kept."""
        _, data = self._receive()
        self.bytes_in += len(data)
        self._kept += data
        if len(self._kept) > BURST:
            self._fail(TlsError("TOO_MANY_KEY_UPDATES"))
        else:
            self._write_on()

    def _write_on(self) -> None:
        if not self._awaits_rest:
            return
        self._awaits_rest = False
        if not self.reading:
            self._loop.remove_reader(self.fd)
        try:
            self._flush()
        except OSError as error:
            self._fail(error)
            return
        if self._out_size:
            self._watch()
        else:
            self._drained()

    def _watch(self) -> None:
        if not self._awaits_rest:
            super()._watch()
        elif self._out_size > HIGH_WATER:
            self.congested = True

    def _shut_down_writing(self) -> None:
        if not self._alert and not self._end_seen and self._engine.awaits_rest:
            self._await_rest()
        else:
            super()._shut_down_writing()

    def _next(self) -> bytes | memoryview:
        """Takes what one send is made of: pieces as long as they fit, or a part of one that does not."""
        out = self._out
        size = len(out[0])
        if size > MOST:
            first = memoryview(out[0])
            out[0] = first[MOST:]
            return first[:MOST]
        count = 1
        while count < len(out) and size + len(out[count]) <= MOST:
            size += len(out[count])
            count += 1
        data = out[0] if count == 1 else b"".join(out[:count])
        del out[:count]
        return data

    def _say_end(self) -> None:
        self._alert = self._alert or self._engine.close_notify()
        sent = self.sock.send(self._alert)
        self._alert = self._alert[sent:]
        if self._alert:
            raise BlockingIOError

    def _release(self) -> None:
        if self._awaits_rest:
            self._awaits_rest = False
            self._loop.remove_reader(self.fd)
        last = self._engine.close_notify()
        if not self._finishing and not self._sealed:
            try:
                self.sock.send(last)
            except OSError:
                pass  # the peer was faster, or does not read
        self._engine.free()
        super()._release()
