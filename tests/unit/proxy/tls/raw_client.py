"""A client of the system's libssl that does what neither Python's `ssl` nor our own bindings offer: ask for new keys."""

from __future__ import annotations

import ctypes
from ctypes import c_char_p, c_int, c_void_p
from typing import Any

from proxy.tls.engine import INCOMING, TlsEngine

_KEY_UPDATE_REQUESTED = 1
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "TLS_method": (c_void_p, []),
    "SSL_CTX_new": (c_void_p, [c_void_p]),
    "SSL_CTX_free": (None, [c_void_p]),
    "SSL_new": (c_void_p, [c_void_p]),
    "SSL_free": (None, [c_void_p]),
    "SSL_set_bio": (None, [c_void_p] * 3),
    "SSL_set_connect_state": (None, [c_void_p]),
    "SSL_do_handshake": (c_int, [c_void_p]),
    "SSL_key_update": (c_int, [c_void_p, c_int]),
    "SSL_read": (c_int, [c_void_p, c_void_p, c_int]),
    "SSL_write": (c_int, [c_void_p, c_char_p, c_int]),
    "BIO_s_mem": (c_void_p, []),
    "BIO_new": (c_void_p, [c_void_p]),
    "BIO_read": (c_int, [c_void_p, c_void_p, c_int]),
    "BIO_write": (c_int, [c_void_p, c_char_p, c_int]),
}


class RawClient:
    """Raises OSError where there is no libssl.so.3."""

    def __init__(self) -> None:
        self._lib = lib = ctypes.CDLL("libssl.so.3")  # which brings libcrypto along
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        self._context = lib.SSL_CTX_new(lib.TLS_method())
        self._ssl = lib.SSL_new(self._context)
        self._in, self._out = lib.BIO_new(lib.BIO_s_mem()), lib.BIO_new(lib.BIO_s_mem())
        lib.SSL_set_bio(self._ssl, self._in, self._out)
        lib.SSL_set_connect_state(self._ssl)
        self._buffer = ctypes.create_string_buffer(128 * 1024)

    def shake(self, server: TlsEngine) -> None:
        done = False
        while not done:
            self._lib.SSL_do_handshake(self._ssl)
            said = self.said()
            INCOMING[: len(said)] = said
            server.take_in(len(said))
            done = server.handshake()
            self.hear(server.unsent())

    def said(self) -> bytes:
        size = self._lib.BIO_read(self._out, self._buffer, len(self._buffer))
        return self._buffer.raw[: max(size, 0)]

    def hear(self, records: bytes) -> bytes:
        """What they say."""
        self._lib.BIO_write(self._in, records, len(records))
        clear = b""
        while (size := self._lib.SSL_read(self._ssl, self._buffer, len(self._buffer))) > 0:
            clear += self._buffer.raw[:size]
        return clear

    def ask_for_new_keys(self, times: int) -> bytes:
        """The records, and one with a byte: without any a server refuses more than 32."""
        for _ in range(times):
            assert self._lib.SSL_key_update(self._ssl, _KEY_UPDATE_REQUESTED) == 1
            assert self._lib.SSL_do_handshake(self._ssl) == 1
        assert self._lib.SSL_write(self._ssl, b".", 1) == 1
        return self.said()

    def free(self) -> None:
        self._lib.SSL_free(self._ssl)
        self._lib.SSL_CTX_free(self._context)
