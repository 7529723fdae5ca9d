"""TLS of one connection, without its socket: ciphertext in, plaintext out, and the other way round.

OpenSSL reads and writes memory here, so that one recv and one send carry many records, which it would take and give one at a
time through a descriptor. Ciphertext passes through two buffers that all engines of the process share: what was put into INCOMING
or taken from OUTGOING is dealt with before anybody else runs. What OpenSSL holds in between grows to the most that was ever in it, so those
that are quiet get new ones (`tidy`). Decides nothing about whom to trust. Invariant: after `free` nothing is called.
Reference: SSL_read(3), SSL_write(3), BIO_s_mem(3); RFC 8446 §5.1 (records).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from proxy.tls.openssl import TlsError, ffi, lib, reason, text
from proxy.tls.ssl_context import SslContext

if TYPE_CHECKING:
    from proxy.tls.peer import PeerIdentity

INCOMING: Final = bytearray(64 * 1024)
MOST: Final = 64 * 1024  # bytes of plaintext that one `encrypt` takes
_RECORD: Final = 16 * 1024
_SEALED: Final = _RECORD + 512  # a record with all that is around it
_ANSWERS: Final = 16 * 1024  # bytes that one who only asks for new keys may make us owe
OUTGOING: Final = memoryview(bytearray(MOST // _RECORD * _SEALED + _ANSWERS))
_OUTGOING_SIZE: Final = len(OUTGOING)
_INCOMING: Final[Any] = ffi.from_buffer(INCOMING)
_OUTGOING: Final[Any] = ffi.from_buffer(OUTGOING)
# Of INCOMING, and a record that had come in part before.
_CLEAR_SIZE: Final = len(INCOMING) + 2 * _RECORD
_CLEAR: Final[Any] = ffi.new("char[]", _CLEAR_SIZE)
_DATA: Final[Any] = ffi.new("char **")

_SSL_read: Final[Any] = lib.SSL_read
_SSL_write: Final[Any] = lib.SSL_write
_BIO_read: Final[Any] = lib.BIO_read
_BIO_write: Final[Any] = lib.BIO_write
_BIO_size: Final[Any] = lib.BIO_get_mem_data
_bytes: Final[Any] = ffi.unpack
_from_buffer: Final[Any] = ffi.from_buffer

_TIDIED_AT_ONCE: Final = 1000  # engines, a µs each; more where bodies were long
_untidy: Final[set[TlsEngine]] = set()


class Session:
    """What a connection leaves for the next one with the same peer."""

    __slots__ = ("handle",)

    def __init__(self, handle: Any) -> None:
        self.handle = ffi.gc(handle, lib.SSL_SESSION_free)


class TlsEngine:
    """A client with `server_name` (SNI) and `session`, or a server, as its context is.

    Raises TlsError where OpenSSL does not take these.
    """

    __slots__ = ("_in", "_out", "_shaken", "_ssl", "_used", "context", "ended", "failure", "peer")

    def __init__(
        self,
        context: SslContext,
        server_name: str | None = None,
        session: Session | None = None,
    ) -> None:
        self.context = context
        self.ended = False  # the peer says no more: by its close_notify, or by a `failure`
        self.failure: TlsError | None = None
        self.peer: PeerIdentity | None = None  # once whoever checked it has set it
        self._used = False  # since `tidy` last looked
        self._shaken = True  # hands, and nothing else yet: certificates went through the BIOs
        self._ssl: Any = ffi.gc(context.new_ssl(), lib.SSL_free)
        ssl = self._ssl
        memory = lib.BIO_s_mem()
        self._in: Any = lib.BIO_new(memory)
        self._out: Any = lib.BIO_new(memory)
        lib.SSL_set_bio(ssl, self._in, self._out)  # and frees them
        if context.server:
            lib.SSL_set_accept_state(ssl)
            return
        lib.SSL_set_connect_state(ssl)
        if server_name is not None:
            lib.SSL_set_tlsext_host_name(ssl, server_name.encode())  # bound without its result
            refused = reason()
            if refused is not None:
                raise TlsError(refused, f"server name {server_name[:80]!r}")
        if session is not None and lib.SSL_set_session(ssl, session.handle) != 1:
            lib.ERR_clear_error()  # then it is a full handshake

    def take_in(self, size: int) -> None:
        """The first `size` bytes of INCOMING have come for the handshake."""
        _BIO_write(self._in, _INCOMING, size)

    def handshake(self) -> bool:
        """Go on; whether it is done, else more must come. What `unsent` gives is to be sent in any case."""
        done = lib.SSL_do_handshake(self._ssl)
        if done == 1:
            return True
        if lib.SSL_get_error(self._ssl, done) != lib.SSL_ERROR_WANT_READ:
            raise self._error()
        return False

    def unsent(self) -> bytes:
        """What OpenSSL says by itself: the handshake, tickets, alerts."""
        parts = []
        while (size := _BIO_read(self._out, _OUTGOING, MOST)) > 0:
            parts.append(OUTGOING[:size].tobytes())
        return b"".join(parts)

    @property
    def ahead(self) -> bool:
        """Whether ciphertext came with the handshake's last bytes, which no readiness will announce."""
        return bool(_BIO_size(self._in, _DATA) > 0)

    def decrypt(self, size: int) -> bytes:
        """The plaintext of the first `size` bytes of INCOMING, and of what came in part before. May set `ended`.

        What TLS answers by itself, to key updates and renegotiation, waits for the next `encrypt` or `close_notify`.
        """
        clear = 0
        # One record's worth at a time: the memory BIO keeps the size it once had. With nothing new once, for what is in it.
        for at in range(0, max(size, 1), _RECORD):
            _BIO_write(self._in, _INCOMING + at, min(size - at, _RECORD))
            clear = self._read_records(clear)
            if self.ended:
                break
        if _BIO_size(self._out, _DATA) > _ANSWERS:
            self.failure, self.ended = TlsError("TOO_MANY_KEY_UPDATES"), True
        if not self._used:
            self._use()
        return _bytes(_CLEAR, clear)  # type: ignore[no-any-return]

    def _read_records(self, clear: int) -> int:
        """All that is whole goes into _CLEAR from `clear` on; where it ends."""
        while True:
            got = _SSL_read(self._ssl, _CLEAR + clear, _CLEAR_SIZE - clear)
            if got <= 0:
                break
            clear += got
            if not _BIO_size(self._in, _DATA):
                return clear
        code = lib.SSL_get_error(self._ssl, got)
        if code != lib.SSL_ERROR_WANT_READ:
            self.ended = True
            if code != lib.SSL_ERROR_ZERO_RETURN:
                self.failure = self._error()
        return clear

    def encrypt(self, data: bytes | memoryview) -> int:
        """Put the records of at most MOST bytes into OUTGOING; how many bytes they are.

        0: OpenSSL takes nothing before a message of TLS itself, of which the peer has sent a part, was decrypted whole.
        """
        ssl, out, source = self._ssl, self._out, _from_buffer(data)
        size, at, end = len(data), 0, 0
        while at < size:
            part = min(size - at, _RECORD)
            taken = _SSL_write(ssl, source + at, part)
            if taken != part:
                if lib.SSL_get_error(ssl, taken) == lib.SSL_ERROR_WANT_READ:
                    return 0  # of the first part: nothing is read in between
                raise self._error()
            at += part
            end += _BIO_read(out, _OUTGOING + end, _OUTGOING_SIZE - end)  # with the answers
        if not self._used:
            self._use()
        return end

    @property
    def awaits_rest(self) -> bool:
        """Whether a message of TLS itself came in part, so that OpenSSL says nothing."""
        done = lib.SSL_do_handshake(self._ssl)
        waits = done != 1 and lib.SSL_get_error(self._ssl, done) == lib.SSL_ERROR_WANT_READ
        lib.ERR_clear_error()
        return bool(waits)

    def close_notify(self) -> bytes:
        """The alert that ends what we say."""
        lib.SSL_shutdown(self._ssl)
        lib.ERR_clear_error()
        return self.unsent()

    def _use(self) -> None:
        self._used = True
        _untidy.add(self)
        if self._shaken:
            self._shaken = False
            self.let_go()

    def let_go(self) -> None:
        """Give back what the memory BIOs grew to, of those with nothing in them. Not before the handshake is done.

        What has come of a record is not in them: OpenSSL keeps it. Reference: SSL_set_bio(3).
        """
        if _BIO_size(self._in, _DATA) == 0:
            self._in = lib.BIO_new(lib.BIO_s_mem())
        if _BIO_size(self._out, _DATA) == 0:
            self._out = lib.BIO_new(lib.BIO_s_mem())
        lib.SSL_set_bio(self._ssl, self._in, self._out)  # frees those that are not the same any more

    def _error(self) -> TlsError:
        result = lib.SSL_get_verify_result(self._ssl)
        detail = "" if result == lib.X509_V_OK else text(lib.X509_verify_cert_error_string(result))
        return TlsError(reason(), detail)

    # What is known once the handshake is done.

    @property
    def session_reused(self) -> bool:
        return bool(lib.SSL_session_reused(self._ssl))

    @property
    def session(self) -> Session | None:
        """For the next connection with this peer; of TLS 1.3 once a ticket has come."""
        handle = lib.SSL_get1_session(self._ssl)
        return None if handle == ffi.NULL else Session(handle)

    def peer_certificate(self) -> bytes | None:
        """DER; None if it sent none."""
        found = lib.SSL_get_peer_certificate(self._ssl)
        if found == ffi.NULL:
            return None
        try:
            return _der(found)
        finally:
            lib.X509_free(found)

    def verified_chain(self) -> Iterable[bytes]:
        """The certificates the peer was verified with, DER; none where it was not, or a session was resumed."""
        chain = lib.SSL_get0_verified_chain(self._ssl)
        if chain == ffi.NULL:
            return []
        return [_der(lib.sk_X509_value(chain, number)) for number in range(lib.sk_X509_num(chain))]

    def free(self) -> None:
        """Give OpenSSL's memory back, some 30 KB."""
        if self._ssl is not None:
            _untidy.discard(self)
            ffi.release(self._ssl)
            self._ssl = self._in = self._out = None  # of which cffi takes no call


def tidy() -> None:
    """To be called now and then: engines that were not used since the last time let go of their buffers."""
    quiet: list[TlsEngine] = []
    for engine in _untidy:
        if engine._used:
            engine._used = False
        elif len(quiet) < _TIDIED_AT_ONCE:
            quiet.append(engine)
    for engine in quiet:
        _untidy.discard(engine)
        engine.let_go()


def _der(certificate: Any) -> bytes:
    bio = lib.BIO_new(lib.BIO_s_mem())
    try:
        lib.i2d_X509_bio(bio, certificate)
        size = lib.BIO_get_mem_data(bio, _DATA)
        return bytes(ffi.buffer(_DATA[0], size))
    finally:
        lib.BIO_free(bio)
