"""Two TLS engines of the sidecar, or one and Python's own TLS, joined through memory."""

from __future__ import annotations

import ssl

from proxy.tls.engine import INCOMING, MOST, OUTGOING, Session, TlsEngine
from proxy.tls.openssl import ffi, lib, text
from proxy.tls.ssl_context import SslContext


def version(engine: TlsEngine) -> str:
    """`TLSv1.3`."""
    return text(lib.SSL_get_version(engine._ssl))


def alpn(engine: TlsEngine) -> str:
    """The protocol both agreed on, `` if none."""
    data, size = ffi.new("unsigned char **"), ffi.new("unsigned int *")
    lib.SSL_get0_alpn_selected(engine._ssl, data, size)
    return str(ffi.buffer(data[0], size[0])[:].decode()) if size[0] else ""


def buffers(engine: TlsEngine) -> int:
    """How many of its memory BIOs have memory: none that nothing was ever put into."""
    data, count = ffi.new("char **"), 0
    for bio in (engine._in, engine._out):
        lib.BIO_get_mem_data(bio, data)
        count += data[0] != ffi.NULL
    return count


def hand_over(source: TlsEngine, target: TlsEngine) -> None:
    """What `source` has to say by itself, for the handshake of `target`."""
    said = source.unsent()
    INCOMING[: len(said)] = said
    target.take_in(len(said))


def shake(
    client: SslContext, server: SslContext, sni: str | None = None, session: Session | None = None
) -> tuple[TlsEngine, TlsEngine]:
    """A whole handshake; raises what either side raises."""
    a, b = TlsEngine(client, sni, session), TlsEngine(server)
    done = [False, False]
    for _ in range(10):
        done[0] = done[0] or a.handshake()
        hand_over(a, b)
        done[1] = done[1] or b.handshake()
        hand_over(b, a)
        if all(done):
            return a, b
    raise AssertionError("no end of the handshake")


def shake_and_say(client: SslContext, server: SslContext, data: bytes) -> tuple[TlsEngine, TlsEngine]:
    """A whole handshake, with whose last bytes the client's `data` came."""
    a, b = TlsEngine(client), TlsEngine(server)
    assert not a.handshake()
    hand_over(a, b)
    assert not b.handshake()
    hand_over(b, a)
    assert a.handshake()
    finished = a.unsent() + sealed(a, data)
    INCOMING[: len(finished)] = finished
    b.take_in(len(finished))
    assert b.handshake()
    return a, b


def sealed(engine: TlsEngine, data: bytes) -> bytes:
    """The records of any number of bytes."""
    parts = [data[at : at + MOST] for at in range(0, len(data), MOST)]
    return b"".join(OUTGOING[: engine.encrypt(part)].tobytes() for part in parts)


def opened(engine: TlsEngine, records: bytes, step: int = len(INCOMING)) -> bytes:
    """The plaintext of records that come in steps of so many bytes."""
    clear = []
    for at in range(0, len(records), step):
        part = records[at : at + step]
        INCOMING[: len(part)] = part
        clear.append(engine.decrypt(len(part)))
    return b"".join(clear)


class Other:
    """Python's TLS in memory, to see that ours is not only understood by itself."""

    def __init__(
        self, context: ssl.SSLContext, *, server: bool, session: ssl.SSLSession | None = None
    ) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=server, session=session)

    def shake(self, engine: TlsEngine) -> None:
        done = [False, False]
        for _ in range(10):
            done[0] = done[0] or engine.handshake()
            self.incoming.write(engine.unsent())
            try:
                self.tls.do_handshake()
                done[1] = True
            except ssl.SSLWantReadError:
                pass
            finally:
                said = self.outgoing.read()
                INCOMING[: len(said)] = said
                if done[0]:
                    engine.decrypt(len(said))
                else:
                    engine.take_in(len(said))
            if all(done):
                return
        raise AssertionError("no end of the handshake")
